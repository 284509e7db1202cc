package guest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"

	"albatross/messages"
	"albatross/runtime/compress"
	"albatross/runtime/failpoint"
	"albatross/runtime/image"
	"albatross/runtime/machine"
	"albatross/runtime/netif"
	"albatross/runtime/network"
	"albatross/runtime/store"
	"albatross/runtime/tender"
)

// maxImage is the largest uncompressed image, in bytes. An image is loaded into the
// memory of its unikernel, which is never that large. A compressed image could otherwise
// fill the disk.
const maxImage = 1 << 30

// A Plan says how to start a unikernel.
type Plan struct {
	tender   tender.Tender
	guest    tender.Guest // without the taps, which Equip makes
	networks []attachment
	cpus     []int
	memory   int64 // bytes that the tender may use
}

// An attachment is a network device, and what it is attached to: a bridge, or a named network.
type attachment struct {
	name    string // in the manifest
	bridge  string
	named   bool
	station network.Station
}

// tenderMemory is what a tender may need in addition to the memory and the image of its
// unikernel, in bytes: its own program before it becomes the unikernel, hypervisor and
// page tables, and a margin.
const tenderMemory = 64 << 20

// Prepare stores the image if necessary, and checks everything about it that can be
// checked without starting it. It pins the image; the caller must call Unpin once. It
// returns the digest after an error, too, if it is known.
func (m *Machine) Prepare(ctx context.Context, name messages.Name, ask messages.UnikernelPrepare) (messages.Digest, Plan, error) {
	digest, err := m.store(ask)
	if err != nil {
		return ask.Spec.Digest, Plan{}, err
	}
	failpoint.Here("prepare/image-stored")
	p, err := m.plan(ctx, name, digest, ask.Spec)
	if err == nil {
		err = errors.Join(m.checkFree(ask.Joins), m.Networks.CheckPorts(name, ask.Spec.Arguments.Publish), m.checkStrangers(name, p.guest))
	}
	if err != nil {
		m.Unpin(digest)
		return digest, Plan{}, err
	}
	failpoint.Here("prepare/planned")
	return digest, p, nil
}

// Pin keeps an image from being removed until Unpin is called.
func (m *Machine) Pin(digest messages.Digest) error { return m.Images.Pin(digest) }

// Unpin ends a Pin or a Prepare.
func (m *Machine) Unpin(digest messages.Digest) { m.Images.Unpin(digest) }

// checkFree refuses addresses that somebody unknown to the ledger has on a bridge, as far
// as the bridge knows.
func (m *Machine) checkFree(list []messages.Station) error {
	for _, s := range list {
		if network, named := m.Networks.Spec(s.Bridge); named && network.Backend == messages.UserNetwork {
			continue // only unikernels are on it
		}
		if err := netif.CheckFree(s); err != nil {
			return err
		}
	}
	return nil
}

// store stores and pins the image.
func (m *Machine) store(ask messages.UnikernelPrepare) (messages.Digest, error) {
	if ask.Image == nil {
		return ask.Spec.Digest, m.Images.Pin(ask.Spec.Digest)
	}
	limit := imageLimit(ask.Spec.Arguments)
	tooLarge := fmt.Errorf("cannot use image: it is larger than the %d MB of memory of its unikernel: give it more", ask.Spec.Arguments.Memory)
	if !ask.Compressed {
		if int64(len(ask.Image)) > limit {
			return messages.Digest{}, tooLarge
		}
		return m.Images.AddBytes(ask.Image)
	}
	digest, _, err := m.Images.Add(compress.Inflate(bytes.NewReader(ask.Image), "image"), limit)
	if errors.Is(err, store.ErrTooLarge) {
		return messages.Digest{}, tooLarge
	}
	if damaged := new(compress.DamagedError); errors.As(err, &damaged) {
		return messages.Digest{}, damaged // not the wrapping error of the store
	}
	return digest, err
}

// imageLimit returns the size of the largest image, in bytes, for a unikernel with these
// arguments. It is loaded into the memory of the unikernel. So the memory that a tenant
// may use bounds what it can put on disk.
func imageLimit(args messages.Arguments) int64 {
	return min(maxImage, int64(min(args.Memory, maxImage>>20))<<20)
}

// plan checks the image against the devices and finds the tender for it.
func (m *Machine) plan(ctx context.Context, name messages.Name, digest messages.Digest, spec messages.Spec) (Plan, error) {
	img, size, err := m.readImage(digest)
	if err != nil {
		return Plan{}, err
	}
	if err := img.CheckTarget(); err != nil {
		return Plan{}, err
	}
	if err := img.ForHost(); err != nil {
		return Plan{}, err
	}
	blocks, networks := deviceNames(spec.Arguments)
	if err := img.MatchDevices(blocks, networks); err != nil {
		return Plan{}, err
	}
	find := m.Tenders.Find
	for _, n := range spec.Arguments.Networks {
		if network, named := m.Networks.Spec(n.OnBridge()); named && network.Backend == messages.UserNetwork {
			find = m.Tenders.FindOwn // nobody else's takes a pair of sockets for a tap
		} else if err := netif.CheckBridge(n.OnBridge()); err != nil {
			return Plan{}, err
		}
	}
	t, err := find(ctx, img.Target, img.ABIVersion)
	if err != nil {
		return Plan{}, err
	}
	p := m.planFor(name, digest, spec, t, size)
	if err := checkCPUs(p.cpus); err != nil {
		return Plan{}, err
	}
	return p, t.Check(img, p.guest)
}

// checkCPUs refuses CPUs that are offline, whatever policies say.
func checkCPUs(cpus []int) error {
	offline, err := machine.OfflineCPUs(cpus)
	if err == nil && len(offline) > 0 {
		err = fmt.Errorf("cannot run on CPU %d: there is none, or it is offline", offline[0])
	}
	return err
}

// argumentName returns the name that a unikernel gets as an argument.
func (m *Machine) argumentName(name messages.Name) string {
	if m.FullNames {
		return name.String()
	}
	return string(name.Label)
}

// planFor combines what has been checked.
func (m *Machine) planFor(name messages.Name, digest messages.Digest, spec messages.Spec, t tender.Tender, size int64) Plan {
	args := spec.Arguments
	p := Plan{
		tender: t,
		guest:  tender.Guest{Image: m.Images.Path(digest), Memory: args.Memory, Argv: append(addresses(m.Networks.Spec, args.Networks), args.Argv.Value...)},
		cpus:   args.CPUIDs,
		memory: int64(args.Memory)<<20 + size + tenderMemory,
	}
	if spec.Named() {
		p.guest.Name = m.argumentName(name)
	}
	for _, b := range args.Blocks {
		p.guest.Blocks = append(p.guest.Blocks, tender.Block{Name: b.Name, File: m.Blocks.Path(b.Of(name)), SectorSize: b.SectorSize})
	}
	for i, n := range args.Networks {
		_, named := m.Networks.Spec(n.OnBridge())
		station := network.Station{Unikernel: name, MAC: n.Address(name), Addresses: n.Leases, Rate: n.Rate}
		if i == 0 {
			station.Publish = args.Publish
		}
		p.networks = append(p.networks, attachment{n.Name, n.OnBridge(), named, station})
	}
	return p
}

// addresses returns the arguments by which unikernels of MirageOS get their addresses without
// DHCP. They name a device, except the first.
func addresses(specs func(bridge string) (messages.NetworkSpec, bool), devices []messages.Network) (list []string) {
	for i, n := range devices {
		network, named := specs(n.OnBridge())
		if !named || !n.Static || len(n.Leases) == 0 {
			continue
		}
		prefix := "--"
		if i > 0 {
			prefix += n.Name + "-"
		}
		for _, a := range n.Leases {
			version, gateway := "ipv4", network.Gateway
			if a.Is6() {
				version, gateway = "ipv6", network.Gateway6
			}
			list = append(list, prefix+version+"="+netip.PrefixFrom(a, gateway.Bits()).String(), prefix+version+"-gateway="+gateway.Addr().String())
		}
	}
	return list
}

func (m *Machine) readImage(digest messages.Digest) (*image.Image, int64, error) {
	f, size, err := m.Images.Open(digest)
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
