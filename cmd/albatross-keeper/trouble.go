package main

import (
	"fmt"
	"strings"
	"sync"

	"albatross/runtime/keeper/wire"
)

// maxTrouble bounds the troubles that wait for a daemon; the newest stay.
const maxTrouble = 16

// trouble collects what has gone wrong, for the log of the daemon. Any goroutine may use it.
type trouble struct {
	mu   sync.Mutex
	list []string
}

func (t *trouble) note(format string, arguments ...any) {
	text := strings.ToValidUTF8(fmt.Sprintf(format, arguments...), "?")
	t.mu.Lock()
	defer t.mu.Unlock()
	t.list = append(t.list, text[:min(len(text), wire.MaxText)])
	t.list = t.list[max(0, len(t.list)-maxTrouble):]
}

// first returns the oldest, or nothing.
func (t *trouble) first() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.list) == 0 {
		return ""
	}
	return t.list[0]
}

// removeOldest removes the one that was reported.
func (t *trouble) removeOldest() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.list = t.list[min(1, len(t.list)):]
}
