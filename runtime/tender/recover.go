package tender

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"albatross/messages"
	"albatross/runtime/proc"
	"albatross/runtime/solo5"
	"albatross/runtime/spt"
)

// NetworkEnd returns a copy of the network's end of a pair, which the guest keeps open: whoever
// had it before has ended. Device is the name in the manifest. An ordinary user may have to be an
// ancestor of the process for that (see ptrace(2), of Yama).
func NetworkEnd(p messages.Process, device string) (*os.File, error) {
	pidfd, err := proc.OpenPidfd(p)
	if err != nil {
		return nil, err
	}
	defer func() { _ = unix.Close(pidfd) }()
	file, err := networkEnd(pidfd, p.PID, device)
	if err != nil {
		return nil, fmt.Errorf("cannot get network %s of process %d: %w", device, p.PID, err)
	}
	return file, nil
}

func networkEnd(pidfd, pid int, device string) (*os.File, error) {
	line, err := tenderLine(pid)
	if err != nil {
		return nil, err
	}
	number, err := endIn(line, device)
	if err != nil {
		return nil, err
	}
	comm, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
	if err == nil && string(comm) != "albatross-"+line[1]+"\n" {
		err = errors.New("its guest has not begun")
	}
	if err != nil {
		return nil, err
	}
	fd, err := unix.PidfdGetfd(pidfd, number, 0)
	if err != nil {
		return nil, os.NewSyscallError("pidfd_getfd", err)
	}
	if err := solo5.CheckSocket(fd); err != nil {
		_ = unix.Close(fd)
		return nil, err
	}
	return os.NewFile(uintptr(fd), "network"), nil
}

// endIn returns which descriptor of a guest it is, by the command line that Args has written.
func endIn(line []string, device string) (number int, err error) {
	if len(line) < 2 || !isTender(line[0]) {
		return 0, errors.New("it is not our tender")
	}
	devices, pairs, number := 0, 0, -1
	for _, option := range line[2:] {
		if option == "--" {
			break
		}
		option, value, _ := strings.Cut(option, "=")
		kind, name, _ := strings.Cut(option, ":")
		if kind == "--net" || kind == "--block" {
			devices++
		}
		first, second, pair := strings.Cut(value, ",@")
		if kind != "--net" || !pair || !strings.HasPrefix(first, "@") {
			continue
		}
		if name == device {
			if number, err = strconv.Atoi(second); err != nil {
				return 0, err
			}
			if line[1] == "spt" {
				number = pairs
			}
		}
		pairs++
	}
	switch {
	case number < 0:
		return 0, errors.New("it has no such pair")
	case line[1] == "spt":
		number = spt.Peer(devices, number)
	}
	return number, nil
}
