package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"

	"albatross/messages"
	"albatross/runtime/compress"
	"albatross/runtime/image"
)

const imageArgument = "UNIKERNEL-IMAGE"

// readImage reads an image and checks that it gets exactly the devices that it declares.
// The daemon checks that, too, but only after the whole upload.
func readImage(path string, args messages.Arguments) ([]byte, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, unreadable(path, err)
	}
	i, err := image.Read(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		return nil, noUnikernel(path, err)
	}
	return data, fits(i, args)
}

// usable returns why an image cannot be started with arguments.
func usable(contents []byte, args messages.Arguments) error {
	i, err := image.Read(bytes.NewReader(contents), int64(len(contents)))
	if err != nil {
		return err
	}
	if err := i.MatchDevices(blockNames(args.Blocks), networkNames(args.Networks)); err != nil {
		return err
	}
	return i.CheckMemory(uint64(args.Memory) << 20)
}

// compressed returns a zlib stream of an image.
func compressed(image []byte, level int) ([]byte, error) {
	stream, err := compress.Deflate(bytes.NewReader(image), level)
	if err != nil {
		return nil, err
	}
	return io.ReadAll(stream)
}

// fits returns why an image cannot be started with arguments, and what to do.
func fits(i *image.Image, args messages.Arguments) error {
	if err := i.MatchDevices(blockNames(args.Blocks), networkNames(args.Networks)); err != nil {
		return inputError(escape(err.Error()) +
			"\nEach of them must be given, with --block NAME or --net NAME:BRIDGE, and no other.")
	}
	if err := i.CheckMemory(uint64(args.Memory) << 20); err != nil {
		return inputError(escape(err.Error()) + "\nGive it more with --mem.")
	}
	return nil
}

// noUnikernel returns the error for an image that cannot be read.
func noUnikernel(from string, err error) error {
	if cause := errors.Unwrap(err); cause != nil {
		err = cause
	}
	return inputError(fmt.Sprintf("cannot use %s: %s\n%s must be a unikernel that was built for Solo5, such as the .hvt or .spt file of a MirageOS build.",
		escape(from), escape(err.Error()), imageArgument))
}

// readUnikernel reads and checks what should be a unikernel that runs here.
func readUnikernel(from string, data []byte) (*image.Image, error) {
	i, err := image.Read(bytes.NewReader(data), int64(len(data)))
	if err == nil {
		err = i.CheckTarget()
	}
	if err != nil {
		return nil, noUnikernel(from, err)
	}
	return i, nil
}
