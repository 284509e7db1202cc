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

// namespaceOf names the mount namespace of a process, which tests enter with that for networks:
// some tenders leave the latter, and nothing leaves the former.
func namespaceOf(pid int) (string, error) {
	return os.Readlink(filepath.Join("/proc", strconv.Itoa(pid), "ns/mnt"))
}

// killLeft kills the processes that tests have left behind in their mount namespace,
// and returns their command lines.
func killLeft(namespace string) (commands []string) {
	left := members(namespace)
	for end := time.Now().Add(leaving); len(left) > 0 && time.Now().Before(end); left = members(namespace) {
		time.Sleep(pause)
	}
	for _, pid := range left {
		line, _ := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "cmdline"))
		commands = append(commands, fmt.Sprintf("%d %s", pid, strings.ReplaceAll(string(line), "\x00", " ")))
		_ = unix.Kill(pid, unix.SIGKILL) // it may have ended meanwhile
	}
	return commands
}

// members returns the processes in a mount namespace. A zombie is in none.
func members(namespace string) (pids []int) {
	found, _ := filepath.Glob("/proc/[0-9]*")
	for _, dir := range found {
		pid, err := strconv.Atoi(filepath.Base(dir))
		if err != nil {
			continue
		}
		if in, err := namespaceOf(pid); err == nil && in == namespace { // it may have ended meanwhile
			pids = append(pids, pid)
		}
	}
	return pids
}
