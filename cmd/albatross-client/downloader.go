package main

import (
	"bytes"
	"context"
	"fmt"
	"io"

	"albatross/messages"
	"albatross/runtime/compress"
)

// A downloader writes images and block devices of the daemon to files.
type downloader struct {
	daemon    *daemon
	out       *printer
	inventory inventory
}

func (dl downloader) get(ctx context.Context, name messages.Name, command messages.UnikernelGet, to *output) error {
	ctx, stop := interruptible(ctx)
	defer stop()
	name, answer, err := dl.daemon.answer(ctx, name, command)
	if err != nil {
		return err
	}
	image, ok := answer.(messages.SuccessImage)
	if !ok {
		return fmt.Errorf("%w (%T)", errOddAnswer, answer)
	}
	if err := tell(to, func() error { return dl.out.show(name, image) }); err != nil {
		return err
	}
	path, err := dl.receive(name, to, image.Compressed, -1, bytes.NewReader(image.Image))
	if err != nil {
		return fmt.Errorf("cannot save the image: %w", err)
	}
	return tell(to, func() error { return dl.out.say(name, "dumped image to "+path) })
}

// dumpBlock saves the contents of a block device. It decompresses them on arrival, so
// that the file does not depend on the transport.
func (dl downloader) dumpBlock(ctx context.Context, name messages.Name, level int, to *output) error {
	// An interrupt must not leave half a file.
	ctx, stop := interruptible(ctx)
	defer stop()
	size := dl.blockSize(ctx, name)
	conn, answer, err := dl.daemon.open(ctx, name, messages.BlockDump{Level: level})
	if err != nil {
		return err
	}
	defer conn.Close()
	name = conn.Name()
	dump, ok := answer.(messages.SuccessDump)
	if !ok {
		return fmt.Errorf("%w (%T)", errOddAnswer, answer)
	}
	if err := tell(to, func() error { return dl.out.show(name, dump) }); err != nil {
		return err
	}
	path, err := dl.receive(name, to, dump.Compressed, size, conn.Contents(ctx))
	if err != nil {
		return fmt.Errorf("cannot dump the block device: %w", err)
	}
	return tell(to, func() error { return dl.out.say(name, "dumped to "+path) })
}

// blockSize returns the size of a block device in bytes, if its progress is shown; -1: it is
// unknown.
func (dl downloader) blockSize(ctx context.Context, name messages.Name) int64 {
	if dl.daemon.socket == "-" || dl.daemon.destination.csr || dl.daemon.destination.made != nil || !dl.out.showsProgress() {
		return -1
	}
	blocks, err := as[messages.SuccessBlocks](dl.inventory.blocks(ctx, name))
	if err != nil || len(blocks.List) != 1 {
		return -1
	}
	return int64(blocks.List[0].Size) << 20
}

// receive saves a stream of so many bytes from the daemon, decompressed if it is compressed.
func (dl downloader) receive(name messages.Name, to *output, compressed bool, size int64, stream io.Reader) (path string, err error) {
	if compressed {
		stream = compress.Inflate(stream, "what the daemon has sent")
	}
	stream, done := dl.out.progress("receiving", size, stream)
	defer done()
	return to.save(name, stream)
}

// tell prints something by show, unless the contents go where that would.
func tell(to *output, show func() error) error {
	if to.toStdout() {
		return nil
	}
	return show()
}
