package main

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"albatross/actors/ledger"
	"albatross/messages"
	"albatross/runtime/block"
	"albatross/runtime/fifo"
	"albatross/runtime/netif"
	"albatross/runtime/proc"
	"albatross/runtime/store"
	"albatross/runtime/tender"
)

// Strangers are the tenders that run at the start of the daemon and that no daemon of
// ours has started, such as those of a native albatross that was killed. What they run
// must not run twice.
type strangers struct {
	running []tender.Running
	tmpdir  string
	fifos   string
	blocks  *block.Dir
}

// findStrangers finds all tenders that are not on record.
func findStrangers(o options, blocks *block.Dir, records []messages.Record) (strangers, error) {
	var known []messages.Process
	for _, r := range records {
		if r.Runtime.OK {
			known = append(known, r.Runtime.Value.Process)
		}
	}
	running, err := tender.FindRunning(known)
	if err != nil {
		return strangers{}, err
	}
	// Now it knows files whose names are in upper case. The host scans again, and logs
	// the problems.
	_, _, _ = blocks.Scan()
	return strangers{running, o.tmpdir, fifoDir(o), blocks}, nil
}

// without returns those that are not on record by now.
func (s strangers) without(records []messages.Record) []tender.Running {
	known := map[messages.Process]bool{}
	for _, r := range records {
		known[r.Runtime.Value.Process] = r.Runtime.OK
	}
	return slices.DeleteFunc(slices.Clone(s.running), func(r tender.Running) bool { return known[r.Process] })
}

// takeOver puts the tender of an imported unikernel on record, if there is one and all
// that must be known of it is known. Otherwise it logs why: the unikernel is not started
// before that tender has ended.
func (s strangers) takeOver(name messages.Name, spec messages.Spec, cause messages.Public, log *slog.Logger) (changes []messages.Change, image string) {
	var found []tender.Running
	for _, r := range s.running {
		if s.runs(r, name) {
			found = append(found, r)
		}
	}
	if len(found) == 0 {
		return nil, ""
	}
	runtime, refused, err := s.known(found, name, spec)
	if err != nil {
		log.Error("A unikernel that runs cannot be taken over, and is not started before what runs it has ended",
			"name", name, "running", fmt.Sprint(found), "cause", err)
		return nil, ""
	}
	spec.NameRefused = refused
	return []messages.Change{
		messages.PutSpec{Name: name, Spec: spec},
		messages.PutRuntime{Name: name, Runtime: runtime},
		messages.PutEvent{Event: messages.NewEvent(messages.EventStarted, name, time.Now(), cause)},
	}, found[0].Guest.Image
}

// takeOverLost puts the tenders on record again whose records were damaged and set aside.
func (s strangers) takeOverLost(db *store.DB, log *slog.Logger) error {
	state, err := db.Load()
	if err != nil {
		return err
	}
	lost := map[messages.Name]bool{}
	for _, a := range db.Aside {
		for _, name := range a.Names {
			lost[name] = true
		}
	}
	var changes []messages.Change
	for _, r := range state.Unikernels {
		if lost[r.Name] && !r.Runtime.OK {
			more, _ := s.takeOver(r.Name, r.Spec, "its record was damaged, and it was found again", log)
			changes = append(changes, more...)
		}
	}
	return db.Apply(changes)
}

// runs reports whether a tender runs the unikernel of a name.
func (s strangers) runs(r tender.Running, name messages.Name) bool {
	return tender.SameFile(r.Output, fifo.Path(s.fifos, name)) ||
		tender.SameFile(r.Guest.Image, tender.NativeImage(s.tmpdir, name))
}

// known returns the runtime of the tender of a unikernel, and whether it was started
// without its name because it refuses that.
func (s strangers) known(found []tender.Running, name messages.Name, spec messages.Spec) (runtime messages.Runtime, refused bool, err error) {
	r, args := found[0], spec.Arguments
	switch {
	case len(found) > 1:
		return runtime, false, errors.New("there are several")
	case r.Odd:
		return runtime, false, errors.New("it was started with options that are not known here")
	case !tender.SameFile(r.Output, fifo.Path(s.fifos, name)):
		return runtime, false, errors.New("its output is not the console")
	case r.Guest.Memory != args.Memory:
		return runtime, false, fmt.Errorf("it has %d MB of memory, and not %d", r.Guest.Memory, args.Memory)
	}
	refused, err = s.arguments(r.Guest, name, args)
	links, linksErr := links(r.Guest, name, args)
	err = errors.Join(err, linksErr, s.devices(r.Guest, name, args), hasDigest(r.Guest.Image, spec.Digest))
	if err != nil {
		return runtime, false, err
	}
	started, err := proc.Started(r.Process)
	return messages.Runtime{
		Process: r.Process, StartedMillis: started.UnixMilli(), Released: true, StartTold: true, Taps: links,
	}, refused, err
}

// arguments compares those of the unikernel, and reports whether its name is missing.
func (s strangers) arguments(g tender.Guest, name messages.Name, args messages.Arguments) (refused bool, err error) {
	rest := g.Argv
	named := args.AddName && len(rest) > 0 && rest[0] == "--name="+string(name.Label)
	if named {
		rest = rest[1:]
	}
	if slices.Equal(withoutAddresses(rest, args.Networks), args.Argv.Value) {
		return args.AddName && !named, nil
	}
	return false, errors.New("its arguments are other ones")
}

// withoutAddresses returns arguments without those by which the daemon has given a unikernel its
// addresses: two for each.
func withoutAddresses(argv []string, devices []messages.Network) []string {
	for _, n := range devices {
		for range n.Leases {
			if n.Static && len(argv) >= 2 && strings.Contains(argv[0], "ipv") && strings.Contains(argv[1], "-gateway=") {
				argv = argv[2:]
			}
		}
	}
	return argv
}

// links returns the taps of the unikernel, which must be on their bridges.
func links(g tender.Guest, name messages.Name, args messages.Arguments) (list []messages.Link, err error) {
	if len(g.Networks) != len(args.Networks) {
		return nil, fmt.Errorf("it has %d networks, and not %d", len(g.Networks), len(args.Networks))
	}
	for i, bridge := range ledger.Bridges(args) {
		has, wanted := g.Networks[i], args.Networks[i]
		if has.Name != wanted.Name || has.MAC != wanted.Address(name) {
			return nil, fmt.Errorf("its network %s has the address %s, and should be %s with %s", has.Name, has.MAC, wanted.Name, wanted.Address(name))
		}
		if has.Tap == "" {
			return nil, fmt.Errorf("its network %s has no tap", has.Name)
		}
		link, err := netif.FindTap(has.Tap, bridge)
		if err != nil {
			return nil, err
		}
		list = append(list, link)
	}
	return list, nil
}

// usualSector is the default sector size.
const usualSector = 512

// devices compares block devices.
func (s strangers) devices(g tender.Guest, name messages.Name, args messages.Arguments) error {
	if len(g.Blocks) != len(args.Blocks) {
		return fmt.Errorf("it has %d block devices, and not %d", len(g.Blocks), len(args.Blocks))
	}
	for i, device := range ledger.Devices(name, args) {
		has, wanted := g.Blocks[i], args.Blocks[i]
		if has.Name != wanted.Name || !tender.SameFile(has.File, s.blocks.Path(device)) ||
			has.SectorSize.Or(usualSector) != wanted.SectorSize.Or(usualSector) {
			return fmt.Errorf("its block device %s is %s, and should be %s, which is %s", has.Name, has.File, wanted.Name, s.blocks.Path(device))
		}
	}
	return nil
}

// hasDigest checks that an image is the stored one.
func hasDigest(path string, digest messages.Digest) error {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return fmt.Errorf("what it runs is not known: %w", err)
	}
	defer func() { _ = f.Close() }()
	hash := sha256.New()
	if _, err := io.Copy(hash, io.LimitReader(f, maxImage+1)); err != nil {
		return fmt.Errorf("what it runs is not known: %w", err)
	}
	if messages.Digest(hash.Sum(nil)) != digest {
		return errors.New("it runs another image")
	}
	return nil
}
