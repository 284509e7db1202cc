package machine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// A Watch returns from Wait when a part of what the machine has may have changed.
// RootPolicy returns what it has now. The kernel sends its messages before the command
// that has changed something returns.
//
// No message says that a file system has grown, or that a hypervisor has taken memory
// back: the caller looks for these now and then.
type Watch struct {
	socket *os.File
	conn   syscall.RawConn
	isNews func(message []byte) bool
}

// WatchAll opens all watches. It returns those that it could open.
func WatchAll() (list []*Watch, err error) {
	for _, open := range []func() (*Watch, error){WatchBridges, WatchDevices} {
		w, failure := open()
		if failure != nil {
			err = errors.Join(err, failure)
			continue
		}
		list = append(list, w)
	}
	return list, err
}

// WatchBridges watches the bridges of this network namespace.
func WatchBridges() (*Watch, error) {
	w, err := watch(unix.NETLINK_ROUTE, 1<<(unix.RTNLGRP_LINK-1), seenBridges{}.changed)
	if err != nil {
		return nil, fmt.Errorf("cannot watch bridges: %w", err)
	}
	return w, nil
}

// kernelEvents is the multicast group of the kernel's own device events.
const kernelEvents = 1

// WatchDevices watches CPUs and memory.
func WatchDevices() (*Watch, error) {
	w, err := watch(unix.NETLINK_KOBJECT_UEVENT, kernelEvents, isDeviceEvent)
	if err != nil {
		return nil, fmt.Errorf("cannot watch CPUs and memory: %w", err)
	}
	return w, nil
}

func watch(protocol int, groups uint32, isNews func([]byte) bool) (*Watch, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, protocol)
	if err != nil {
		return nil, err
	}
	socket := os.NewFile(uintptr(fd), "netlink")
	err = unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: groups})
	if err != nil {
		return nil, errors.Join(err, socket.Close())
	}
	conn, err := socket.SyscallConn()
	if err != nil {
		return nil, errors.Join(err, socket.Close())
	}
	return &Watch{socket, conn, isNews}, nil
}

// Wait returns nil when something may have changed since the last call, or since the
// watch was made. After an error, which is that of ctx if ctx is done, the watch can only
// be closed.
func (w *Watch) Wait(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() {
		_ = w.socket.SetReadDeadline(time.Unix(1, 0)) // fails if closed: nobody reads then
	})
	defer stop()
	var failure error
	err := w.conn.Read(func(fd uintptr) bool {
		var news bool
		news, failure = w.drain(int(fd))
		return news || failure != nil
	})
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil || failure != nil:
		return fmt.Errorf("cannot watch the machine: %w", errors.Join(err, failure))
	}
	return nil
}

// maxMessage is larger than any message of the kernel, in bytes.
const maxMessage = 64 << 10

// drain reads all available messages, so that many changes at once cause one Wait to
// return.
func (w *Watch) drain(fd int) (news bool, err error) {
	buffer := make([]byte, maxMessage)
	for {
		n, err := unix.Read(fd, buffer)
		switch {
		case err == unix.EAGAIN:
			return news, nil
		case err == unix.EINTR:
		case err == unix.ENOBUFS: // messages were lost: one of them may have mattered
			news = true
		case err != nil:
			return news, err
		case w.isNews(buffer[:n]):
			news = true
		}
	}
}

// Close closes the watch; a Wait under way returns an error.
func (w *Watch) Close() error { return w.socket.Close() }

// seenBridges holds the names of bridges seen in messages, by index.
type seenBridges map[int]string

// changed reports whether a message is about a bridge that has come, gone or been renamed.
// Every start and end of a unikernel causes other messages, about its taps.
func (seen seenBridges) changed(message []byte) bool {
	parts, err := syscall.ParseNetlinkMessage(message)
	if err != nil {
		return true
	}
	news := false
	for _, part := range parts {
		news = seen.changedPart(part) || news
	}
	return news
}

func (seen seenBridges) changedPart(part syscall.NetlinkMessage) bool {
	link, err := netlink.LinkDeserialize(nil, part.Data)
	if err != nil {
		return true
	}
	if link.Type() != "bridge" {
		return false
	}
	index, name := link.Attrs().Index, link.Attrs().Name
	if part.Header.Type == unix.RTM_DELLINK {
		delete(seen, index)
		return true
	}
	old, known := seen[index]
	seen[index] = name
	return !known || old != name
}

// isDeviceEvent reports whether an event is about a CPU or memory.
func isDeviceEvent(event []byte) bool {
	for field := range bytes.SplitSeq(event, []byte{0}) {
		if string(field) == "SUBSYSTEM=cpu" || string(field) == "SUBSYSTEM=memory" {
			return true
		}
	}
	return false
}
