package main

import (
	"encoding/binary"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// asides run beside the loop, one goroutine each, because they may take long. They do not
// touch the keeper; the loop uses their results.
type asides struct {
	wake int // an eventfd that wakes the loop when one is done
	busy int // how many run that must end before an upgrade

	mu   sync.Mutex
	done []func()
}

func (a *asides) open() (err error) {
	a.wake, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	return os.NewSyscallError("eventfd", err)
}

// aside runs work beside the loop, and then the function that it returns in the loop.
func (k *keeper) aside(work func() func()) {
	k.asides.busy++
	k.asides.await(func() func() {
		done := work()
		return func() {
			k.asides.busy--
			done()
		}
	})
}

// await is aside for work that may never end.
func (a *asides) await(work func() func()) {
	go func() {
		done := work()
		a.mu.Lock()
		a.done = append(a.done, done)
		a.mu.Unlock()
		_, _ = unix.Write(a.wake, binary.NativeEndian.AppendUint64(nil, 1)) // a counter, far from its limit
	}()
}

// asidesDone uses the results.
func (k *keeper) asidesDone() {
	var count [8]byte
	_, _ = unix.Read(k.asides.wake, count[:]) // may be zero already
	k.asides.mu.Lock()
	done := k.asides.done
	k.asides.done = nil
	k.asides.mu.Unlock()
	for _, do := range done {
		do()
	}
}
