package main

import (
	"context"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"albatross/messages"
	"albatross/sockets/client"
)

func (a *app) setBlockCommand() *cobra.Command {
	var level int
	c := &cobra.Command{
		Use:               "set-block " + blockArgument + " " + fileArgument,
		Short:             "Replace the contents of a block device by those of a file",
		Args:              positional(blockArgument, fileArgument),
		ValidArgsFunction: a.completeBlockAndFile,
		RunE: func(c *cobra.Command, args []string) error {
			name, err := parseArgument(blockArgument, messages.ParseName, args[0])
			if err != nil {
				return err
			}
			path, err := parseArgument(fileArgument, parseFile, args[1])
			if err != nil {
				return err
			}
			file, err := openContents(path)
			if err != nil {
				return err
			}
			defer file.Close()
			return a.upload(c.Context(), name, file, level)
		},
	}
	registerLevel(c.Flags(), &level)
	return c
}

func registerLevel(flags *pflag.FlagSet, level *int) {
	flags.Var(one("LEVEL", parseLevel, level), "compression-level", "compress the contents to send them, 0 (not) to 9 (most)")
}

// upload sets the contents of a block device, and shows the answer. They are
// compressed while they are sent, where the level is not 0.
func (a *app) upload(ctx context.Context, name messages.Name, file *contents, level int) error {
	if a.socket == "-" {
		return a.showMessage(name, messages.BlockSet{Compressed: level > 0})
	}
	conn, err := a.connect(ctx, unikernelSocket)
	if err != nil {
		return err
	}
	defer conn.Close()
	answer, err := a.send(ctx, conn, name, file, level)
	if err != nil {
		return err
	}
	return a.show(name, answer)
}

func (a *app) send(ctx context.Context, conn *client.Conn, name messages.Name, file *contents, level int) (messages.Success, error) {
	stream, done := a.progress("sending", file.size, file)
	defer done()
	if level > 0 {
		var err error
		if stream, err = newDeflater(stream, level); err != nil {
			return nil, err
		}
	}
	return conn.Upload(ctx, name, messages.BlockSet{Compressed: level > 0}, struct {
		io.Reader
		io.Closer
	}{stream, file})
}

// contents are a file that goes into a block device.
type contents struct {
	file *os.File
	size int64 // in bytes; -1 where that is not known, as of a pipe
}

func openContents(path string) (*contents, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, unreadable(path, err)
	}
	stat, err := f.Stat()
	switch {
	case err != nil:
		f.Close()
		return nil, unreadable(path, err)
	case stat.IsDir():
		f.Close()
		return nil, inputError(fmt.Sprintf("cannot read %s: it is a directory", escape(path)))
	case stat.Mode().IsRegular():
		return &contents{f, stat.Size()}, nil
	}
	return &contents{f, -1}, nil
}

// fits tells whether the file is no larger than so many MB, 1 at least, as far as
// is known.
func (c *contents) fits(size int) bool { return (c.size-1)>>20 < int64(size) }

func (c *contents) Read(b []byte) (int, error) {
	n, err := c.file.Read(b)
	if err != nil && err != io.EOF {
		err = unreadable(c.file.Name(), err)
	}
	return n, err
}

func (c *contents) Close() error { return c.file.Close() }
