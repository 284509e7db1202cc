package chaos

import (
	"os"
	"os/exec"
	"os/signal"
	"sync"

	"golang.org/x/sys/unix"
)

// children are the processes that somebody waits for. All others are reaped and
// forgotten.
var children = struct {
	sync.Mutex
	ended map[int]chan unix.WaitStatus
}{ended: map[int]chan unix.WaitStatus{}}

// beInit has this process adopt all orphans among its descendants, and reap all
// of its children for as long as it lives: from here on nobody else may, except within
// withOwnChildren.
func beInit() {
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		panic(err)
	}
	news := make(chan os.Signal, 1)
	signal.Notify(news, unix.SIGCHLD)
	go func() {
		for range news {
			reap()
		}
	}()
}

// reap reaps all that have ended.
func reap() {
	children.Lock()
	defer children.Unlock()
	for {
		var status unix.WaitStatus
		pid, err := unix.Wait4(-1, &status, unix.WNOHANG, nil)
		if err == unix.EINTR {
			continue
		}
		if err != nil || pid == 0 {
			return
		}
		if ended, awaited := children.ended[pid]; awaited {
			delete(children.ended, pid)
			ended <- status
		}
	}
}

// withOwnChildren calls a function that waits for children of its own, which nobody else reaps
// meanwhile.
func withOwnChildren(f func()) {
	children.Lock()
	defer children.Unlock()
	f()
}

// spawn starts a program and tells how it has ended, when it has.
func spawn(c *exec.Cmd) (pid int, ended <-chan unix.WaitStatus, err error) {
	children.Lock()
	defer children.Unlock()
	if err := c.Start(); err != nil {
		return 0, nil, err
	}
	pid = c.Process.Pid
	how := make(chan unix.WaitStatus, 1)
	children.ended[pid] = how
	return pid, how, c.Process.Release()
}
