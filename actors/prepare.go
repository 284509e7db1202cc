package actors

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"

	"albatross/actors/ledger"
	"albatross/messages"
	"albatross/runtime/compress"
	"albatross/runtime/failpoint"
	"albatross/runtime/image"
	"albatross/runtime/machine"
	"albatross/runtime/netif"
	"albatross/runtime/store"
	"albatross/runtime/tender"
)

// maxImage is the largest uncompressed image, in bytes. An image is loaded into
// the memory of its unikernel, and none is that large; a compressed one could
// otherwise fill the disk.
const maxImage = 1 << 30

// A plan is how a unikernel is started.
type plan struct {
	tender   tender.Tender
	guest    tender.Guest // without the taps, which are made when it is started
	networks []attachment
	cpus     []int
	memory   int64 // bytes that the tender may use
}

// An attachment is a network device and the bridge that it gets a tap on.
type attachment struct {
	name   string // in the manifest
	bridge string
	mac    messages.MAC
}

// tenderMemory is what a tender may need beside the memory and the image of its
// unikernel, in bytes: its own program before it has become the unikernel, what
// hypervisor and page tables take, and a margin.
const tenderMemory = 64 << 20

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

// prepare does prepareNow when it is the turn of the tenant.
func (g *Config) prepare(ctx context.Context, name messages.Name, m messages.UnikernelPrepare) (p prepared) {
	err := g.Work.Do(ctx, tenantOf(name), func() { p = g.prepareNow(ctx, name, m) })
	if err != nil {
		return prepared{digest: m.Spec.Digest, err: err}
	}
	return p
}

// tenantOf is whose turn it is to do long work about a unikernel: all below one path
// of the root share what there is.
func tenantOf(name messages.Name) string {
	tenant, _, _ := strings.Cut(string(name.Path), ":")
	return tenant
}

// prepareNow puts the image into the store where it is not there yet, and checks
// everything about it that can be checked without starting it.
func (g *Config) prepareNow(ctx context.Context, name messages.Name, m messages.UnikernelPrepare) prepared {
	digest, err := g.store(m)
	if err != nil {
		return prepared{digest: m.Spec.Digest, err: err}
	}
	pin := &pin{images: g.Images, digest: digest}
	failpoint.Here("prepare/image-stored")
	p, err := g.plan(ctx, name, digest, m.Spec)
	if err == nil {
		err = errors.Join(checkFree(m.Joins), g.checkStrangers(name, p.guest))
	}
	if err != nil {
		pin.release()
		return prepared{digest: digest, err: err}
	}
	failpoint.Here("prepare/planned")
	return prepared{digest: digest, pin: pin, plan: p}
}

// checkFree refuses addresses that somebody else has, whom the ledger does not
// know: as far as the bridge does.
func checkFree(list []messages.Station) error {
	for _, s := range list {
		if err := netif.CheckFree(s); err != nil {
			return err
		}
	}
	return nil
}

// store pins the image.
func (g *Config) store(m messages.UnikernelPrepare) (messages.Digest, error) {
	if m.Image == nil {
		return m.Spec.Digest, g.Images.Pin(m.Spec.Digest)
	}
	limit := imageLimit(m.Spec.Arguments)
	tooLarge := fmt.Errorf("cannot use image: it is larger than the %d MB of memory of its unikernel: give it more", m.Spec.Arguments.Memory)
	if !m.Compressed {
		if int64(len(m.Image)) > limit {
			return messages.Digest{}, tooLarge
		}
		return g.Images.AddBytes(m.Image)
	}
	digest, _, err := g.Images.Add(compress.Inflate(bytes.NewReader(m.Image), "image"), limit)
	if errors.Is(err, store.ErrTooLarge) {
		return messages.Digest{}, tooLarge
	}
	if damaged := new(compress.DamagedError); errors.As(err, &damaged) {
		return messages.Digest{}, damaged // and not something about the store
	}
	return digest, err
}

// imageLimit is the largest image, in bytes, of a unikernel with these arguments. It
// is loaded into its memory, so that what a tenant can put on disk is bounded by the
// memory that it may use.
func imageLimit(args messages.Arguments) int64 {
	return min(maxImage, int64(min(args.Memory, maxImage>>20))<<20)
}

// plan checks the image against the devices and finds the tender for it.
func (g *Config) plan(ctx context.Context, name messages.Name, digest messages.Digest, spec messages.Spec) (plan, error) {
	img, size, err := g.readImage(digest)
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
	for _, bridge := range ledger.Bridges(spec.Arguments) {
		if err := netif.CheckBridge(bridge); err != nil {
			return plan{}, err
		}
	}
	t, err := g.Tenders.Find(ctx, img.Target, img.ABIVersion)
	if err != nil {
		return plan{}, err
	}
	p := g.planFor(name, digest, spec, t, size)
	if err := checkCPUs(p.cpus); err != nil {
		return plan{}, err
	}
	return p, t.Check(img, p.guest)
}

// checkCPUs refuses CPUs that nothing can run on now, whatever policies say.
func checkCPUs(cpus []int) error {
	offline, err := machine.OfflineCPUs(cpus)
	if err == nil && len(offline) > 0 {
		err = fmt.Errorf("cannot run on CPU %d: there is none, or it is offline", offline[0])
	}
	return err
}

// toldName is the name that a unikernel is told as an argument.
func (g *Config) toldName(name messages.Name) string {
	if g.FullNames {
		return name.String()
	}
	return string(name.Label)
}

// planFor puts together what has been checked.
func (g *Config) planFor(name messages.Name, digest messages.Digest, spec messages.Spec, t tender.Tender, size int64) plan {
	args := spec.Arguments
	p := plan{
		tender: t,
		guest:  tender.Guest{Image: g.Images.Path(digest), Memory: args.Memory, Argv: args.Argv.Value},
		cpus:   args.CPUIDs,
		memory: int64(args.Memory)<<20 + size + tenderMemory,
	}
	if named(spec) {
		p.guest.Name = g.toldName(name)
	}
	for i, device := range ledger.Devices(name, args) {
		p.guest.Blocks = append(p.guest.Blocks, tender.Block{
			Name: args.Blocks[i].Name, File: g.Blocks.Path(device), SectorSize: args.Blocks[i].SectorSize,
		})
	}
	for i, bridge := range ledger.Bridges(args) {
		n := args.Networks[i]
		p.networks = append(p.networks, attachment{n.Name, bridge, n.Address(name)})
	}
	return p
}

func (g *Config) readImage(digest messages.Digest) (*image.Image, int64, error) {
	f, size, err := g.Images.Open(digest)
	if err != nil {
		return nil, 0, err
	}
	defer func() { _ = f.Close() }()
	img, err := image.Read(f, size)
	return img, size, err
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

// readPinned is readCompressed for an image that may be about to be collected.
func (g *Config) readPinned(digest messages.Digest, level int) ([]byte, error) {
	if err := g.Images.Pin(digest); err != nil {
		return nil, err
	}
	defer g.Images.Unpin(digest)
	return g.readCompressed(digest, level)
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
	stream, err := compress.Deflate(f, level)
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(stream)
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
