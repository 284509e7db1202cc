package inject

import (
	"bytes"
	"fmt"
	"os"
	"sync"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A notification is struct seccomp_notif.
type notification struct {
	id      uint64
	pid     uint32
	flags   uint32
	number  int32
	arch    uint32
	address uint64
	args    [6]uint64
}

// A response is struct seccomp_notif_resp.
type response struct {
	id    uint64
	value int64
	errno int32
	flags uint32
}

// answer answers the kernel until no process has the filter any more.
func (f *Faults) answer(listener int) {
	var late sync.WaitGroup // answers that come later
	defer func() {
		late.Wait()
		f.fail(os.NewSyscallError("close", unix.Close(listener)))
	}()
	for {
		ready := []unix.PollFd{{Fd: int32(listener), Events: unix.POLLIN}}
		if _, err := unix.Poll(ready, -1); err != nil && err != unix.EINTR {
			f.fail(os.NewSyscallError("poll", err))
			return
		}
		if ready[0].Revents&unix.POLLIN == 0 {
			if ready[0].Revents != 0 { // the last process has ended
				return
			}
			continue
		}
		var n notification
		switch err := control(listener, unix.SECCOMP_IOCTL_NOTIF_RECV, unsafe.Pointer(&n)); err {
		case nil:
			f.decide(listener, n, &late)
		case unix.EINTR, unix.ENOENT: // the process was killed meanwhile
		default:
			f.fail(os.NewSyscallError("receive", err))
		}
	}
}

// decide lets a call happen, at once or later, or fail.
func (f *Faults) decide(listener int, n notification, late *sync.WaitGroup) {
	fault, hit := f.draw(n)
	switch {
	case hit && fault.Errno != 0:
		f.respond(listener, response{id: n.id, errno: -int32(fault.Errno)})
	case hit:
		late.Go(func() {
			<-time.After(fault.Delay)
			f.happen(listener, n.id)
		})
	default:
		f.happen(listener, n.id)
	}
}

func (f *Faults) happen(listener int, id uint64) {
	f.respond(listener, response{id: id, flags: unix.SECCOMP_USER_NOTIF_FLAG_CONTINUE})
}

func (f *Faults) respond(listener int, r response) {
	// The process may have been killed.
	if err := control(listener, unix.SECCOMP_IOCTL_NOTIF_SEND, unsafe.Pointer(&r)); err != nil && err != unix.ENOENT {
		f.fail(os.NewSyscallError("respond", err))
	}
}

func (f *Faults) fail(err error) {
	if err == nil {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.failures = append(f.failures, err)
}

// programOf returns the name of the program that a thread runs, if it still does.
func programOf(thread uint32) string {
	name, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", thread))
	return string(bytes.TrimSpace(name))
}

// pathOf returns the second argument of a call, which is the path of those that make something.
func pathOf(n notification) string {
	memory, err := os.Open(fmt.Sprintf("/proc/%d/mem", n.pid))
	if err != nil {
		return "" // it was killed
	}
	defer memory.Close()
	path := make([]byte, unix.PathMax)
	read, _ := memory.ReadAt(path, int64(n.args[1])) // less than that may be there
	path, _, _ = bytes.Cut(path[:read], []byte{0})
	return string(path)
}

func control(listener int, request uint, argument unsafe.Pointer) error {
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(listener), uintptr(request), uintptr(argument)); errno != 0 {
		return errno
	}
	return nil
}
