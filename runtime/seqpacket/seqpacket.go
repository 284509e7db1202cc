// Package seqpacket sends and receives messages with descriptors over a Unix socket that
// preserves messages (SOCK_SEQPACKET), which our processes use among themselves: the daemon, its
// keeper, and the processes of networks. It encodes messages in CBOR.
package seqpacket

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// MaxFiles bounds the descriptors of a message.
const MaxFiles = 134

// ErrCut says that descriptors were lost, since this process has too many open.
var ErrCut = errors.New("too many open files")

// Send sends a message with descriptors, which stay the caller's. It returns the error of the
// system call: unix.EAGAIN if a nonblocking socket is full.
func Send(socket int, frame []byte, files []int) error {
	var rights []byte
	if len(files) > 0 {
		rights = unix.UnixRights(files...)
	}
	for {
		err := unix.Sendmsg(socket, frame, rights, nil, unix.MSG_NOSIGNAL)
		if err != unix.EINTR {
			return err
		}
	}
}

// Receive receives a message into buffer, which has room for the longest message. An
// empty message is the end of the connection. The descriptors belong to the caller, and are
// closed by an exec. After an error there are none: ErrCut comes with a message, and
// unix.EAGAIN says that a nonblocking socket is empty.
func Receive(socket int, buffer []byte) (frame []byte, files []int, err error) {
	rights := make([]byte, unix.CmsgSpace(4*MaxFiles))
	var n, r, flags int
	for {
		n, r, flags, _, err = unix.Recvmsg(socket, buffer, rights, unix.MSG_CMSG_CLOEXEC)
		if err != unix.EINTR {
			break
		}
	}
	if err != nil {
		return nil, nil, err
	}
	files, err = parseRights(rights[:r])
	switch {
	case err != nil:
	case flags&unix.MSG_TRUNC != 0:
		err = fmt.Errorf("a message is longer than %d bytes", len(buffer))
	case flags&unix.MSG_CTRUNC != 0:
		err = ErrCut
	default:
		return buffer[:n], files, nil
	}
	CloseAll(files)
	return buffer[:n], nil, err
}

// parseRights returns the descriptors of a message.
func parseRights(rights []byte) (files []int, err error) {
	list, err := unix.ParseSocketControlMessage(rights)
	if err != nil {
		return nil, os.NewSyscallError("recvmsg", err)
	}
	for i := range list {
		fds, err := unix.ParseUnixRights(&list[i])
		if err == nil { // no other kind was enabled
			files = append(files, fds...)
		}
	}
	return files, nil
}

// CloseAll closes descriptors.
func CloseAll(files []int) {
	for _, fd := range files {
		_ = unix.Close(fd)
	}
}

// CheckPeer refuses a peer that is neither root nor our own user.
func CheckPeer(socket int) (pid int, err error) {
	peer, err := unix.GetsockoptUcred(socket, unix.SOL_SOCKET, unix.SO_PEERCRED)
	if err != nil {
		return 0, os.NewSyscallError("getsockopt", err)
	}
	if peer.Uid != 0 && int(peer.Uid) != unix.Geteuid() {
		return 0, fmt.Errorf("user %d is neither root nor our own", peer.Uid)
	}
	return int(peer.Pid), nil
}
