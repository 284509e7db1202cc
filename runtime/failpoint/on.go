//go:build failpoints

package failpoint

import (
	"fmt"
	"os"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// A target is where to die.
type target struct {
	name string
	left atomic.Int64 // visits left
}

var (
	doom = parse(os.Getenv(Kill))
	log  = open(os.Getenv(Log))
)

// Here logs that the program has reached a point, and does not return if it is to die
// there.
func Here(name string) {
	if log != nil {
		if _, err := log.WriteString(name + "\n"); err != nil {
			panic(fmt.Sprintf("internal error: %v", err))
		}
	}
	if name == doom.name && doom.left.Add(-1) == 0 {
		die()
	}
}

// die ends the whole process at once.
func die() {
	_ = unix.Kill(unix.Getpid(), unix.SIGKILL)
	select {} // until the signal arrives
}

func parse(text string) *target {
	t := &target{}
	if text == "" {
		return t
	}
	var times int64
	if _, err := fmt.Sscanf(text, "%s %d", &t.name, &times); err != nil || times < 1 {
		panic(fmt.Sprintf("internal error: %s is %q, not a name and a number", Kill, text))
	}
	t.left.Store(times)
	return t
}

// open opens the log. Lines of several goroutines do not mix: each is one write.
func open(path string) *os.File {
	if path == "" {
		return nil
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		panic(fmt.Sprintf("internal error: %v", err))
	}
	return f
}
