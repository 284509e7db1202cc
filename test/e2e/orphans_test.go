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

// adoptOrphans makes this process the parent of all whose daemon has ended, for as
// long as it lives. They would be children of init, and on some machines that
// takes seconds to clear away one that has ended, before which nobody is told.
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

// clearOrphans waits for those of our children that have ended and whose session
// is their own, as that of a tender is. Others are waited for by who has started
// them.
func clearOrphans() {
	ours, _ := unix.Getsid(0)                      // it never fails
	stats, _ := filepath.Glob("/proc/[0-9]*/stat") // the pattern is a good one
	for _, path := range stats {
		stat, err := os.ReadFile(path)
		if err != nil {
			continue // it is gone
		}
		// Behind the name of the program: state, parent, group, session.
		fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
		if fields[0] != "Z" || fields[1] != strconv.Itoa(os.Getpid()) || fields[3] == strconv.Itoa(ours) {
			continue
		}
		if pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path))); err == nil {
			_, _ = unix.Wait4(pid, nil, unix.WNOHANG, nil) // it has ended
		}
	}
}
