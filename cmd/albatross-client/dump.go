package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"albatross/messages"
	"albatross/runtime/compress"
)

func (a *app) dumpBlockCommand() *cobra.Command {
	var level messages.Option[int]
	c := a.aboutBlock(&cobra.Command{
		Use:   "dump-block",
		Short: "Write the contents of a block device to a file in the temporary directory",
	}, func(c *cobra.Command, name messages.Name) error {
		return a.dumpBlock(c.Context(), name, a.compression(level))
	})
	registerLevel(c.Flags(), &level)
	return c
}

// dumpBlock saves the contents of a block device. It decompresses them on arrival, so
// that the file does not depend on the transport.
func (a *app) dumpBlock(ctx context.Context, name messages.Name, level int) error {
	// An interrupt must not leave half a file.
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, unix.SIGTERM)
	defer stop()
	conn, answer, err := a.open(ctx, name, messages.BlockDump{Level: level})
	if err != nil {
		return err
	}
	defer conn.Close()
	name = conn.Name()
	dump, ok := answer.(messages.SuccessDump)
	if !ok {
		return fmt.Errorf("%w (%T)", errOddAnswer, answer)
	}
	if err := a.show(name, dump); err != nil {
		return err
	}
	path, err := a.receive(name, dump.Compressed, conn.Contents(ctx))
	if err != nil {
		return fmt.Errorf("cannot dump the block device: %w", err)
	}
	return a.print("dumped to " + escape(path))
}

// receive saves the stream from the daemon, decompressed if it is compressed.
func (a *app) receive(name messages.Name, compressed bool, stream io.Reader) (path string, err error) {
	if compressed {
		stream = compress.Inflate(stream, "what the daemon has sent")
	}
	stream, done := a.progress("receiving", -1, stream)
	defer done()
	return save(name, stream)
}
