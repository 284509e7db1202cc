package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"albatross/messages"
	"albatross/runtime/compress"
	"albatross/sockets/client"
)

func (a *app) setBlockCommand() *cobra.Command {
	var level messages.Option[int]
	var force bool
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
			if err := wipes(file, force); err != nil {
				return err
			}
			return a.setBlock(c.Context(), name, file, a.compression(level))
		},
	}
	c.Flags().BoolVarP(&force, "force", "f", false, "also where the file is empty, which leaves nothing but zeros")
	registerLevel(c.Flags(), &level)
	return c
}

// wipes refuses empty contents, which would wipe the device.
func wipes(file *contents, force bool) error {
	nothing, err := file.empty()
	if err == nil && nothing && !force {
		err = inputError(escape(file.path) + " is empty: nothing would be left in the block device. Give --force to wipe it.")
	}
	return err
}

func registerLevel(flags *pflag.FlagSet, level *messages.Option[int]) {
	flags.Var(maybe("LEVEL", parseLevel, level), "compression-level", "compress the contents to send them, 0 (not) to 9 (most)"+levelDefault)
}

// remoteLevel is the default level for a remote daemon. The highest one takes eight times as
// long, for 3 % (see BenchmarkCompress), and is native's default.
const (
	remoteLevel  = 6
	levelDefault = " (default 0, and 6 from afar)"
)

// compression returns the level to use: on this machine compression would only cost time.
func (a *app) compression(level messages.Option[int]) int {
	if a.destination.given() {
		return level.Or(remoteLevel)
	}
	return level.Or(0)
}

// setBlock sets the contents of a block device.
func (a *app) setBlock(ctx context.Context, name messages.Name, file *contents, level int) error {
	return a.upload(ctx, name, messages.BlockSet{Compressed: level > 0}, file, level)
}

// upload sends a command followed by contents, and shows the answer. It compresses them
// on the fly, unless the level is 0.
func (a *app) upload(ctx context.Context, name messages.Name, command messages.Command, data *contents, level int) error {
	if a.socket == "-" {
		return a.showMessage(name, command)
	}
	conn, err := a.connect(ctx, name, command)
	if err != nil {
		return err
	}
	defer conn.Close()
	answer, err := a.send(ctx, conn, name, command, data, level)
	if err != nil {
		return err
	}
	return a.show(conn.Name(), answer)
}

func (a *app) send(ctx context.Context, conn *client.Conn, name messages.Name, command messages.Command, data *contents, level int) (messages.Success, error) {
	stream, done := a.progress("sending", data.size, data)
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

// contents are those of a block device, or an image.
type contents struct {
	from io.ReadCloser
	path string
	size int64 // in bytes; -1: unknown, as of a pipe
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
		return &contents{f, path, stat.Size()}, nil
	}
	return &contents{f, path, -1}, nil
}

// contentsOf returns bytes as contents.
func contentsOf(b []byte) *contents {
	return &contents{from: io.NopCloser(bytes.NewReader(b)), size: int64(len(b))}
}

// empty waits for the first byte, and reports whether there is none. The size does not
// show it: that of a pipe is unknown, and that of a file of the kernel is 0.
func (c *contents) empty() (bool, error) {
	if c.size > 0 {
		return false, nil
	}
	ahead := bufio.NewReader(c.from)
	c.from = struct {
		io.Reader
		io.Closer
	}{ahead, c.from}
	switch _, err := ahead.Peek(1); {
	case err == io.EOF:
		return true, nil
	case err != nil:
		return false, unreadable(c.path, err)
	}
	c.size = -1
	return false, nil
}

// fits reports whether the file is no larger than so many MB, 1 at least, as far as is
// known.
func (c *contents) fits(size int) bool { return (c.size-1)>>20 < int64(size) }

func (c *contents) Read(b []byte) (int, error) {
	n, err := c.from.Read(b)
	if err != nil && err != io.EOF {
		err = unreadable(c.path, err)
	}
	return n, err
}

func (c *contents) Close() error { return c.from.Close() }
