package main

import (
	"log/slog"
	"os"
	"sync"

	"golang.org/x/sys/unix"

	"albatross/runtime/confine"
)

// confinement returns which layers tenders get beside their filter, and a function that logs
// once what is missing of them. An ordinary user can give up nothing.
func confinement(o options, log *slog.Logger) (*confine.Order, func(string)) {
	missing := logOnce(log)
	order := &confine.Order{}
	if os.Geteuid() != 0 {
		return order, missing
	}
	order.Root = emptyDir(o)
	// To end and to take over a process of another user, root needs these.
	have, err := confine.Effective()
	if err == nil {
		err = have.Require(unix.CAP_KILL, unix.CAP_SYS_PTRACE)
	}
	if order.User = err == nil; err != nil {
		missing("tenders are not users of their own: " + err.Error())
	}
	return order, missing
}

// maxMissing bounds what logOnce remembers.
const maxMissing = 100

func logOnce(log *slog.Logger) func(string) {
	var mu sync.Mutex
	told := map[string]bool{}
	return func(text string) {
		mu.Lock()
		defer mu.Unlock()
		if told[text] || len(told) >= maxMissing {
			return
		}
		told[text] = true
		log.Info("Unikernels are confined less", "missing", text)
	}
}
