package actors

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"sync"

	"github.com/klauspost/compress/zlib"

	"albatross/messages"
	"albatross/runtime/fifo"
	"albatross/runtime/image"
	"albatross/runtime/store"
	"albatross/runtime/tender"
)

// maxImage is the largest uncompressed image, in bytes. An image is loaded into
// the memory of its unikernel, and none is that large; a compressed one could
// otherwise fill the disk.
const maxImage = 1 << 30

// A plan is how a unikernel is started.
type plan struct {
	program string
	args    []string
}

// A pin keeps an image from being collected until it is released.
type pin struct {
	images *store.Images
	digest messages.Digest
	once   sync.Once
}

// release may be called again, and of no pin.
func (p *pin) release() {
	if p != nil {
		p.once.Do(func() { p.images.Unpin(p.digest) })
	}
}

// prepared is the result of the check of an image.
type prepared struct {
	digest messages.Digest // as far as it is known
	pin    *pin            // where err is nil
	plan   plan
	err    error
}

// Discard allows the image to be collected.
func (p prepared) Discard() { p.pin.release() }

// prepare puts the image into the store where it is not there yet, and checks
// everything about it that can be checked without starting it.
func (g *Config) prepare(ctx context.Context, name messages.Name, m messages.UnikernelPrepare) prepared {
	digest, err := g.store(m)
	if err != nil {
		return prepared{digest: m.Spec.Digest, err: err}
	}
	pin := &pin{images: g.Images, digest: digest}
	p, err := g.plan(ctx, name, digest, m.Spec)
	if err != nil {
		pin.release()
		return prepared{digest: digest, err: err}
	}
	return prepared{digest: digest, pin: pin, plan: p}
}

// store pins the image.
func (g *Config) store(m messages.UnikernelPrepare) (messages.Digest, error) {
	if m.Image == nil {
		return m.Spec.Digest, g.Images.Pin(m.Spec.Digest)
	}
	if !m.Compressed {
		digest, _, err := g.Images.Add(bytes.NewReader(m.Image), maxImage)
		return digest, err
	}
	z, err := zlib.NewReader(bytes.NewReader(m.Image))
	if err != nil {
		return messages.Digest{}, fmt.Errorf("cannot decompress image: %w", err)
	}
	in := &inflating{r: z}
	digest, _, err := g.Images.Add(in, maxImage)
	if in.err != nil {
		return messages.Digest{}, fmt.Errorf("cannot decompress image: %w", in.err)
	}
	return digest, err
}

// inflating remembers an error of the compressed data: it is not one of the
// image store.
type inflating struct {
	r   io.Reader
	err error
}

func (i *inflating) Read(b []byte) (int, error) {
	n, err := i.r.Read(b)
	if err != io.EOF {
		i.err = err
	}
	return n, err
}

// plan checks the image against the devices and finds the tender for it.
func (g *Config) plan(ctx context.Context, name messages.Name, digest messages.Digest, spec messages.Spec) (plan, error) {
	img, err := g.readImage(digest)
	if err != nil {
		return plan{}, err
	}
	if err := img.CheckTarget(); err != nil {
		return plan{}, err
	}
	blocks, networks := deviceNames(spec.Arguments)
	if err := img.MatchDevices(blocks, networks); err != nil {
		return plan{}, err
	}
	t, err := g.Tenders.Find(ctx, img.Target, img.ABIVersion)
	if err != nil {
		return plan{}, err
	}
	guest := tender.Guest{
		Image:  g.Images.Path(digest),
		Memory: spec.Arguments.Memory,
		Argv:   spec.Arguments.Argv.Value,
	}
	if named(spec) {
		guest.Label = name.Label
	}
	return plan{program: t.Program, args: append(t.Prefix, tender.Args(guest)...)}, nil
}

func (g *Config) readImage(digest messages.Digest) (*image.Image, error) {
	f, size, err := g.Images.Open(digest)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	return image.Read(f, size)
}

func deviceNames(args messages.Arguments) (blocks, networks []string) {
	for _, b := range args.Blocks {
		blocks = append(blocks, b.Name)
	}
	for _, n := range args.Networks {
		networks = append(networks, n.Name)
	}
	return blocks, networks
}

// launch makes a process that waits to become the tender.
func (g *Config) launch(ctx context.Context, spec messages.Spec, p plan, path string) (*tender.Gated, error) {
	console, err := fifo.OpenWriter(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = console.Close() }()
	return tender.Launch(ctx, tender.Command{
		Launcher: g.Launcher,
		CPUs:     spec.Arguments.CPUIDs,
		Program:  p.program,
		Args:     p.args,
		Output:   console,
	})
}

// readCompressed is the image as a client wants it: level 0 is uncompressed.
func (g *Config) readCompressed(digest messages.Digest, level int) ([]byte, error) {
	f, size, err := g.Images.Open(digest)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	if level == 0 {
		return readWhole(f, size)
	}
	var out bytes.Buffer
	z, err := zlib.NewWriterLevel(&out, level)
	if err != nil {
		return nil, fmt.Errorf("cannot compress image: %w", err)
	}
	if _, err := io.Copy(z, f); err != nil {
		return nil, fmt.Errorf("cannot read image: %w", err)
	}
	if err := z.Close(); err != nil {
		return nil, fmt.Errorf("cannot compress image: %w", err)
	}
	return out.Bytes(), nil
}

func readWhole(f *os.File, size int64) ([]byte, error) {
	data := make([]byte, size)
	if _, err := io.ReadFull(f, data); err != nil {
		return nil, fmt.Errorf("cannot read image: %w", err)
	}
	return data, nil
}
