package registry

import (
	"context"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// A Kept image is in a temporary file without a name, and mapped into memory: only what is read of it is
// there. Nobody else can change the file.
type Kept struct {
	Contents []byte // not to be used after Close
}

// FetchFile is Fetch into a temporary file. The caller closes what it returns.
func (c *Client) FetchFile(ctx context.Context, a *Artifact, t Target) (*Kept, error) {
	file, err := nameless()
	if err != nil {
		return nil, fmt.Errorf("cannot keep an image: %w", err)
	}
	defer file.Close() // a mapping stays
	if err := c.FetchTo(ctx, a, t, file); err != nil {
		return nil, err
	}
	return mapped(file)
}

// nameless makes a temporary file that goes when it is closed.
func nameless() (*os.File, error) {
	file, err := os.CreateTemp("", "albatross-image")
	if err != nil {
		return nil, err
	}
	if err := os.Remove(file.Name()); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return file, nil
}

func mapped(file *os.File) (*Kept, error) {
	stat, err := file.Stat()
	if err != nil {
		return nil, fmt.Errorf("cannot read the image that was kept: %w", err)
	}
	if stat.Size() == 0 { // nothing to be mapped
		return &Kept{}, nil
	}
	contents, err := unix.Mmap(int(file.Fd()), 0, int(stat.Size()), unix.PROT_READ, unix.MAP_PRIVATE)
	if err != nil {
		return nil, fmt.Errorf("cannot map the image that was kept: %w", err)
	}
	return &Kept{contents}, nil
}

// Close frees the memory, and the room on the disk.
func (k *Kept) Close() error {
	if k.Contents == nil {
		return nil
	}
	contents := k.Contents
	k.Contents = nil
	return unix.Munmap(contents)
}
