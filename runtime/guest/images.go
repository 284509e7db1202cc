package guest

import (
	"context"
	"fmt"
	"io"
	"os"

	"albatross/messages"
	"albatross/runtime/compress"
)

// VerifyImages reads images, and returns why some of them cannot be used.
func (m *Machine) VerifyImages(ctx context.Context, list []messages.Digest) []error {
	return m.Images.Verify(ctx, list)
}

// RemoveImage removes an image that is neither kept nor pinned.
func (m *Machine) RemoveImage(digest messages.Digest, keep func(messages.Digest) bool) error {
	_, err := m.Images.Remove(digest, keep)
	return err
}

// CollectImages removes all images that are neither kept nor pinned.
func (m *Machine) CollectImages(keep func(messages.Digest) bool) error {
	_, err := m.Images.Collect(keep)
	return err
}

// ImageSize returns the most bytes that ReadImage returns.
func (m *Machine) ImageSize(digest messages.Digest, level int) (int64, error) {
	f, size, err := m.Images.Open(digest)
	if err != nil {
		return 0, err
	}
	return compress.Bound(size, level), f.Close()
}

// ReadImage returns an image, compressed at a level; 0: uncompressed. The image may be
// removed meanwhile: it needs no pin, which would keep the image for good if it were
// removed before the pin is released.
func (m *Machine) ReadImage(digest messages.Digest, level int) ([]byte, error) {
	f, size, err := m.Images.Open(digest)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	if level == compress.None {
		return readWhole(f, size)
	}
	stream, err := compress.Deflate(f, level)
	if err != nil {
		return nil, err
	}
	data, err := compress.ReadAll(stream, compress.Bound(size, level))
	if err != nil {
		return nil, fmt.Errorf("cannot read image: %w", err)
	}
	return data, nil
}

func readWhole(f *os.File, size int64) ([]byte, error) {
	data := make([]byte, size)
	if _, err := io.ReadFull(f, data); err != nil {
		return nil, fmt.Errorf("cannot read image: %w", err)
	}
	return data, nil
}
