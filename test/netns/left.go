package netns

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// leaving is how long processes that have been killed at the end of the tests may take to end,
	// on a busy machine.
	leaving = 10 * time.Second
	// pause is the interval of the checks whether they have.
	pause = 10 * time.Millisecond
)

// setMark marks this process, and all that it starts from here on, by a limit of real-time
// processing that has its pid as the last digits. It is inherited, limits nothing, and nobody else
// changes it. Namespaces are no such mark, since tenders leave them. Who has a mark already gets a
// lower one, since not everybody may raise a limit.
func setMark() error {
	var now unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_RTTIME, &now); err != nil {
		return err
	}
	const highest, pidBits = 1 << 28, 22
	mark := (min(highest, now.Max>>pidBits)-1)<<pidBits + uint64(os.Getpid())
	return unix.Setrlimit(unix.RLIMIT_RTTIME, &unix.Rlimit{Cur: mark, Max: mark})
}

// killLeft kills the processes that tests have left behind, which have the mark of this one, and
// returns their command lines.
func killLeft() (commands []string) {
	left := Started()
	for end := time.Now().Add(leaving); len(left) > 0 && time.Now().Before(end); left = Started() {
		time.Sleep(pause)
	}
	for _, pid := range left {
		line, _ := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "cmdline"))
		commands = append(commands, fmt.Sprintf("%d %s", pid, strings.ReplaceAll(string(line), "\x00", " ")))
		_ = unix.Kill(pid, unix.SIGKILL) // it may have ended meanwhile
	}
	return commands
}

// Started returns the processes that this one has started, and they in turn, without zombies. They
// are found in whatever namespace they are, as those of any user, and when their parents have ended.
func Started() (pids []int) {
	ours := markOf("self")
	found, _ := filepath.Glob("/proc/[0-9]*")
	for _, dir := range found {
		pid, err := strconv.Atoi(filepath.Base(dir))
		if err != nil || pid == os.Getpid() || markOf(filepath.Base(dir)) != ours {
			continue
		}
		if line, err := os.ReadFile(filepath.Join(dir, "cmdline")); err == nil && len(line) > 0 {
			pids = append(pids, pid)
		}
	}
	return pids
}

// markOf returns the line with the mark of a process, of whatever user, and nothing if it has ended.
func markOf(process string) string {
	text, _ := os.ReadFile(filepath.Join("/proc", process, "limits"))
	_, line, _ := strings.Cut(string(text), "\nMax realtime timeout")
	line, _, _ = strings.Cut(line, "\n")
	return line
}
