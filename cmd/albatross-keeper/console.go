package main

import (
	"errors"
	"time"

	"golang.org/x/sys/unix"

	"albatross/messages"
	"albatross/runtime/failpoint"
	"albatross/runtime/history"
)

const (
	// syncAfter bounds for how long a power cut can lose a line.
	syncAfter = time.Second
	// syncAgainAfter is the pause before the next try to write a history.
	syncAgainAfter = 10 * time.Second
)

// keeping reports whether the keeper reads a console, as far as is known; see mayRead.
func (k *keeper) keeping(c *child) bool { return c.console >= 0 && !c.read && !k.readers }

// keepConsole begins to read a console, if no daemon does.
func (k *keeper) keepConsole(c *child) {
	if !k.keeping(c) {
		return
	}
	if c.end != nil {
		k.finishConsole(c)
		return
	}
	if _, watched := k.sources[c.console]; watched {
		return
	}
	if err := k.watch(c.console, unix.EPOLLIN, source{child: c, console: true}); err != nil {
		k.trouble.note("Cannot keep the console of %s: %v", c.name, err)
	}
}

// keepAll does for all processes what no daemon does: reads their consoles, and removes the
// cgroups of ended ones. Ended processes come first: the next run uses the same history.
func (k *keeper) keepAll() {
	for _, ended := range []bool{true, false} {
		for _, c := range k.children {
			if (c.end != nil) == ended {
				k.keepConsole(c)
				k.removeDirs(c)
			}
		}
	}
}

// move moves what a console contains to its history.
func (k *keeper) move(c *child) {
	if !k.keeping(c) || !k.mayRead() {
		return
	}
	k.openLog(c)
	n, err := c.log.Move(c.console)
	switch {
	case err != nil:
		k.trouble.note("Cannot read the console of %s: %v", c.name, err)
		k.unwatch(c.console)
	case n == 0: // all writers have ended, or another reader was faster
		k.unwatchEnded(c)
	default:
		failpoint.Here("keeper/lines-moved")
		k.moved += n
		k.full = k.full || n >= 64<<10
		k.syncLater(c)
	}
}

// unwatchEnded stops polling a pipe at its end: the end would be news for ever.
func (k *keeper) unwatchEnded(c *child) {
	fds := []unix.PollFd{{Fd: int32(c.console), Events: unix.POLLIN}}
	if n, err := unix.Poll(fds, 0); n == 1 && err == nil && fds[0].Revents&unix.POLLIN == 0 {
		k.unwatch(c.console)
	}
}

// openLog opens the history of a process. It closes that of another one with the name, for which it
// would wait: an ended one may have left something in its console when the next runs already.
func (k *keeper) openLog(c *child) {
	if c.log != nil {
		return
	}
	if other := k.open[c.name]; other != nil {
		other.log.Sync() // if it cannot, closeLog notes what is lost
		k.closeLog(other, (*history.Log).Close)
	}
	name, _ := messages.ParseName(c.name) // it was checked before
	c.log = k.histories.Log(name, func(err error) { k.trouble.note("Cannot keep history: %v", err) })
	k.open[c.name] = c
}

// finishConsole moves what an ended process has left in its console.
func (k *keeper) finishConsole(c *child) {
	if !k.keeping(c) || !k.mayRead() {
		return
	}
	k.openLog(c)
	if err := c.log.MoveLast(c.console); err != nil {
		k.trouble.note("Cannot read the end of the console of %s: %v", c.name, err)
	}
	k.spend(childCost)
	k.unwatch(c.console)
	_ = unix.Close(c.console)
	c.console = -1
	k.syncLater(c) // which closes the log
}

// stopKeeping gives up console and history to the daemon. Lines that a full disk has kept
// from being written are lost.
func (k *keeper) stopKeeping(c *child) {
	if c.console >= 0 {
		k.unwatch(c.console)
	}
	failpoint.Here("keeper/console-left")
	k.closeLog(c, (*history.Log).Close)
}

// abandonLog gives up a history that a daemon may have written to.
func (k *keeper) abandonLog(c *child) { k.closeLog(c, (*history.Log).Abandon) }

func (k *keeper) closeLog(c *child, how func(*history.Log)) {
	if c.log != nil {
		if !c.log.Written() {
			k.trouble.note("The last lines of the console of %s are lost", c.name)
		}
		how(c.log)
		c.log = nil
		delete(k.open, c.name)
	}
	delete(k.unsynced, c)
}

func (k *keeper) closeConsole(c *child) {
	k.stopKeeping(c)
	if c.console >= 0 {
		_ = unix.Close(c.console)
		c.console = -1
	}
}

// syncLater puts moved lines on disk soon.
func (k *keeper) syncLater(c *child) {
	if len(k.unsynced) == 0 {
		k.after(syncAfter, k.syncAll)
	}
	k.unsynced[c] = true
}

// syncAll puts moved lines on disk, beside the loop.
func (k *keeper) syncAll() {
	logs := map[*child]*history.Log{}
	for c := range k.unsynced {
		logs[c] = c.log
	}
	clear(k.unsynced)
	if len(logs) == 0 {
		return
	}
	k.aside(func() func() {
		var lacks []*child
		for c, log := range logs {
			if !log.Sync() {
				lacks = append(lacks, c)
				delete(logs, c)
			}
		}
		return func() {
			for c, log := range logs {
				k.synced(c, log)
			}
			k.syncAgain(lacks)
		}
	})
}

// synced closes the history of an ended process.
func (k *keeper) synced(c *child, log *history.Log) {
	if c.end != nil && c.log == log {
		k.stopKeeping(c)
	}
}

// syncAgain tries again, as after a full disk.
func (k *keeper) syncAgain(lacks []*child) {
	if len(lacks) == 0 {
		return
	}
	k.after(syncAgainAfter, func() {
		for _, c := range lacks {
			if c.log != nil {
				k.syncLater(c)
			}
		}
	})
}

var errEnded = errors.New("the console has come to its end")
