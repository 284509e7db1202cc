package main

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"albatross/messages"
	"albatross/runtime/compress"
)

func (a *app) dumpBlockCommand() *cobra.Command {
	var level messages.Option[int]
	to := output{}
	c := a.aboutBlock(&cobra.Command{
		Use:     "dump-block",
		Short:   "Write the contents of a block device to a file in the temporary directory, or to that of -o",
		Example: "  albatross-client dump-block web:data -o - | gzip >data.gz",
	}, func(c *cobra.Command, name messages.Name) error {
		return a.dumpBlock(c.Context(), name, a.compression(level), &to)
	})
	to.register(c.Flags(), a.stdout)
	registerLevel(c.Flags(), &level)
	return c
}

// dumpBlock saves the contents of a block device. It decompresses them on arrival, so
// that the file does not depend on the transport.
func (a *app) dumpBlock(ctx context.Context, name messages.Name, level int, to *output) error {
	// An interrupt must not leave half a file.
	ctx, stop := interruptible(ctx)
	defer stop()
	size := a.blockSize(ctx, name)
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
	if err := a.tell(to, func() error { return a.show(name, dump) }); err != nil {
		return err
	}
	path, err := a.receive(name, to, dump.Compressed, size, conn.Contents(ctx))
	if err != nil {
		return fmt.Errorf("cannot dump the block device: %w", err)
	}
	return a.tell(to, func() error { return a.say(name, "dumped to "+path) })
}

// blockSize returns the size of a block device in bytes, if its progress is shown; -1: it is
// unknown.
func (a *app) blockSize(ctx context.Context, name messages.Name) int64 {
	if a.socket == "-" || a.destination.csr || a.destination.made != nil || !a.showsProgress() {
		return -1
	}
	blocks, err := as[messages.SuccessBlocks](a.blocks(ctx, name))
	if err != nil || len(blocks.List) != 1 {
		return -1
	}
	return int64(blocks.List[0].Size) << 20
}

// tell prints something by show, unless the contents go where that would.
func (a *app) tell(to *output, show func() error) error {
	if to.toStdout() {
		return nil
	}
	return show()
}

// receive saves a stream of so many bytes from the daemon, decompressed if it is compressed.
func (a *app) receive(name messages.Name, to *output, compressed bool, size int64, stream io.Reader) (path string, err error) {
	if compressed {
		stream = compress.Inflate(stream, "what the daemon has sent")
	}
	stream, done := a.progress("receiving", size, stream)
	defer done()
	return to.save(name, stream)
}
