package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"albatross/messages"
	"albatross/runtime/compress"
	"albatross/sockets/client"
)

// An uploader sends the daemon contents of block devices, and images, and shows how far it is.
type uploader struct {
	daemon *daemon
	out    *printer
}

// upload sends a command followed by contents, and shows the answer. It compresses them
// on the fly, unless the level is 0.
func (up uploader) upload(ctx context.Context, name messages.Name, command messages.Command, data *contents, level int) error {
	if up.daemon.socket == "-" {
		return up.out.showMessage(name, command)
	}
	conn, err := up.daemon.connect(ctx, name, command)
	if err != nil {
		return err
	}
	defer conn.Close()
	answer, err := up.send(ctx, conn, name, command, data, level)
	if err != nil {
		return err
	}
	return up.out.show(conn.Name(), answer)
}

func (up uploader) send(ctx context.Context, conn *client.Conn, name messages.Name, command messages.Command, data *contents, level int) (messages.Success, error) {
	stream, done := up.out.progress("sending", data.size, data)
	defer done()
	if level > 0 {
		var err error
		if stream, err = compress.Deflate(stream, level); err != nil {
			return nil, err
		}
	}
	return conn.Upload(ctx, name, command, struct {
		io.Reader
		io.Closer
	}{stream, data})
}

// setBlock sets the contents of a block device.
func (up uploader) setBlock(ctx context.Context, name messages.Name, file *contents, level int) error {
	return up.upload(ctx, name, messages.BlockSet{Compressed: level > 0}, file, level)
}

// createFrom creates a block device and sets its contents. It sends nothing to an
// existing one, which keeps its contents.
func (up uploader) createFrom(ctx context.Context, name messages.Name, size int, path string, level int) error {
	return up.fillFrom(ctx, name, size, path, level, func(ctx context.Context) error { return up.daemon.ask(ctx, name, messages.BlockAdd{Size: size}) })
}

// fillFrom makes a block device and sets its contents to those of a file.
func (up uploader) fillFrom(ctx context.Context, name messages.Name, size int, path string, level int, makes func(context.Context) error) error {
	if up.daemon.destination.csr {
		return inputError("--data cannot be put into a request: leave it out, and set the contents with 'set-block'")
	}
	file, err := openContents(path)
	if err != nil {
		return err
	}
	defer file.Close()
	switch nothing, err := file.empty(); {
	case err != nil:
		return err
	case nothing:
		return inputError(escape(path) + " is empty: leave --data out to create an empty block device")
	case !file.fits(size):
		return inputError("data exceeds size")
	}
	sending, stop := interruptible(ctx) // from before there is anything to take back
	defer stop()
	if err := makes(ctx); err != nil {
		return err
	}
	if err := up.setBlock(sending, name, file, level); err != nil {
		if sending.Err() != nil {
			return errors.Join(err, up.takeBack(ctx, name))
		}
		up.out.message(warning, fmt.Sprintf("block device %v has been created, but its contents have yet to be set, with 'set-block'", name))
		return err
	}
	return nil
}

const (
	// takeBackTime bounds how long the client tries to remove a block device whose upload was
	// interrupted: the daemon uses it until it has noticed that.
	takeBackTime = 5 * time.Second
	takeBackStep = 50 * time.Millisecond
)

// takeBack removes a block device that was created for contents that do not come.
func (up uploader) takeBack(ctx context.Context, name messages.Name) error {
	ctx, cancel := context.WithTimeout(ctx, takeBackTime)
	defer cancel()
	for {
		_, _, err := up.daemon.answer(ctx, name, messages.BlockRemove{})
		var refusal *client.Refusal
		switch {
		case err == nil:
			up.out.message(warning, fmt.Sprintf("block device %v was removed again", name))
			return nil
		case !errors.As(err, &refusal) || refusal.Text != "remove block: is in use":
			return err
		}
		select {
		case <-time.After(takeBackStep):
		case <-ctx.Done():
			return err
		}
	}
}
