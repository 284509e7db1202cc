package e2e

import (
	"bytes"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// adoptOrphans makes this process the parent of all processes whose daemon has ended, for as long
// as it lives. Otherwise init would be their parent. On some machines init takes seconds to reap a
// process, and before that nobody learns of its end.
func adoptOrphans() error {
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return err
	}
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, unix.SIGCHLD)
	go func() {
		for range ended {
			clearOrphans()
		}
	}()
	return nil
}

// clearOrphans reaps those of our children that have ended and have a session of their own, as a
// tender has. Other processes are reaped by the code that has started them.
func clearOrphans() {
	ours, _ := unix.Getsid(0)                      // it never fails
	stats, _ := filepath.Glob("/proc/[0-9]*/stat") // the pattern is valid
	for _, path := range stats {
		stat, err := os.ReadFile(path)
		if err != nil {
			continue // it is gone
		}
		// After the name of the program: state, parent, group, session.
		fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
		if fields[0] != "Z" || fields[1] != strconv.Itoa(os.Getpid()) || fields[3] == strconv.Itoa(ours) {
			continue
		}
		if pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path))); err == nil {
			_, _ = unix.Wait4(pid, nil, unix.WNOHANG, nil) // it has ended
		}
	}
}
