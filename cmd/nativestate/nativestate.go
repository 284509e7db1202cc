// Package nativestate reads the state file of native albatross: the unikernels that should
// run, with their images, and the policies. The daemon imports such a file, and the client
// shows it.
package nativestate

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"

	"albatross/messages"
	"albatross/runtime/compress"
	"albatross/sockets/wire"
)

// File is the name of the file in the database directory.
const File = "state"

// maxSize is the largest file that is read, in bytes. It is read into memory as a whole, as
// native albatross does.
const maxSize = 16 << 30

// Read reads a state file, which is no symbolic link. The images of the unikernels are
// slices of the file.
func Read(path string) (wire.State, error) {
	file, err := read(path)
	if err != nil {
		return wire.State{}, err
	}
	return wire.DecodeState(file)
}

// read reads the file, which may be of any kind.
func read(path string) ([]byte, error) {
	// O_NONBLOCK: the open of a named pipe would block.
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	switch {
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, errors.New("it is not a regular file")
	case info.Size() > maxSize:
		return nil, fmt.Errorf("it is larger than %d bytes", int64(maxSize))
	}
	data := make([]byte, info.Size())
	_, err = io.ReadFull(f, data)
	return data, err
}

// Image returns the uncompressed image of a configuration.
func Image(c messages.Config) io.Reader {
	if c.Compressed {
		return compress.Inflate(bytes.NewReader(c.Image), "image")
	}
	return bytes.NewReader(c.Image)
}
