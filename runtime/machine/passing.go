package machine

import (
	"errors"
	"slices"

	"golang.org/x/sys/unix"
)

// passing are the errors of a machine that lacks something for a moment.
var passing = []unix.Errno{
	unix.EAGAIN, unix.EINTR, unix.EIO, unix.EMFILE, unix.ENFILE, unix.ENOBUFS, unix.ENOMEM, unix.ENOSPC,
}

// Passing reports whether an error may not come again. What a machine cannot do at all, a daemon does
// without; but it must not do without it for ever because of a bad moment.
func Passing(err error) bool {
	return slices.ContainsFunc(passing, func(errno unix.Errno) bool { return errors.Is(err, errno) })
}
