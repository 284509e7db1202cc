package main

import (
	"fmt"
	"log/slog"
	"os"
	"sync"

	"golang.org/x/sys/unix"

	"albatross/runtime/confine"
	"albatross/runtime/guest"
	"albatross/runtime/machine"
)

// confinement sets which layers tenders get beside their filter, and what logs once which of them
// are missing. An ordinary user can give up nothing. The caller closes the void.
func confinement(guests *guest.Machine, o options, log *slog.Logger) error {
	missing := logOnce(log)
	order := &confine.Order{}
	guests.Confine, guests.Missing = order, missing
	if os.Geteuid() != 0 {
		return nil
	}
	order.Root = emptyDir(o)
	void, err := confine.NewVoid(order.Root)
	if machine.Passing(err) {
		return fmt.Errorf("cannot confine unikernels: %w", err)
	}
	if guests.Void = void; err != nil {
		missing(confine.NoVoid(err))
	}
	// To end and to take over a process of another user, root needs these.
	have, err := confine.Effective()
	if err == nil {
		err = have.Require(unix.CAP_KILL, unix.CAP_SYS_PTRACE)
	}
	if order.User = err == nil; err != nil {
		missing("tenders are not users of their own: " + err.Error())
	}
	return nil
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
