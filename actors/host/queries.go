package host

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"albatross/actors/ledger"
	"albatross/actors/supervise"
	"albatross/messages"
	"albatross/runtime/compress"
)

// infos returns what runs at the name, or at and below the path, in the order of
// listings.
func (h *host) infos(name messages.Name) []messages.NamedInfo {
	if !name.IsPath() {
		return h.infoOf(nil, name, name)
	}
	names := h.namesAt(name)
	list := make([]messages.NamedInfo, 0, len(names))
	for _, n := range names {
		list = h.infoOf(list, n, name.Relative(n))
	}
	return list
}

// namesAt returns the names at and below a path, in the order of listings. They are sorted before
// what is said about them is collected, which is larger.
func (h *host) namesAt(path messages.Name) []messages.Name {
	names := make([]messages.Name, 0, len(h.slots))
	for n := range h.slots {
		if path.Covers(n) {
			names = append(names, n)
		}
	}
	slices.SortFunc(names, messages.Name.Compare)
	return names
}

// infoOf appends what runs under a name, if anything does.
func (h *host) infoOf(list []messages.NamedInfo, name, shown messages.Name) []messages.NamedInfo {
	s := h.slots[name]
	if s == nil || s.current == nil || s.current.started.IsZero() || s.current.unstored != "" {
		return list
	}
	args, digest := s.current.spec.Arguments, s.current.spec.Digest
	return append(list, messages.NamedInfo{Name: shown, Info: messages.Info{
		Type:      s.current.spec.Type,
		Startup:   args.Startup,
		Fail:      args.Fail,
		CPUIDs:    args.CPUIDs,
		Memory:    args.Memory,
		Digest:    digest[:],
		Blocks:    h.blockInfos(name, args),
		Networks:  networkInfos(name, args),
		Argv:      args.Argv,
		Started:   s.current.started,
		CPUs:      args.CPUs,
		LinuxBoot: args.LinuxBoot,
	}})
}

func (h *host) blockInfos(name messages.Name, args messages.Arguments) []messages.BlockInfo {
	infos := make([]messages.BlockInfo, len(args.Blocks))
	for i, device := range ledger.Devices(name, args) {
		b := args.Blocks[i]
		infos[i] = messages.BlockInfo{Name: b.Name, Device: b.Device, SectorSize: b.SectorSize, Size: h.ledger.DeviceSize(device)}
	}
	return infos
}

func networkInfos(name messages.Name, args messages.Arguments) []messages.NetworkInfo {
	infos := make([]messages.NetworkInfo, len(args.Networks))
	for i, n := range args.Networks {
		infos[i] = messages.NetworkInfo{Name: n.Name, Bridge: n.Bridge, MAC: messages.Some(n.Address(name))}
	}
	return infos
}

// settings returns those of what runs at the name, or at and below the path, in the order
// of listings.
func (h *host) settings(name messages.Name) (list []messages.NamedSettings) {
	for n, s := range h.slots {
		if s.current != nil && name.Covers(n) {
			spec := s.current.spec
			list = append(list, messages.NamedSettings{
				Name: name.Relative(n), AddName: spec.Arguments.AddName, NameRefused: spec.NameRefused,
				Networks: spec.Arguments.Networks, Publish: spec.Arguments.Publish, Health: spec.Arguments.Health, Origin: spec.Arguments.Origin,
			})
		}
	}
	slices.SortFunc(list, func(a, b messages.NamedSettings) int { return a.Name.Compare(b.Name) })
	return list
}

// ends returns how the last runs ended, what waits to be started again, and what is stopped, of
// the name, or at and below the path, in the order of listings.
func (h *host) ends(name messages.Name) (list []messages.NamedEnd) {
	for n, console := range h.consoles.byName {
		if !name.Covers(n) {
			continue
		}
		e := messages.NamedEnd{Name: name.Relative(n), End: console.end.Value}
		if s := h.slots[n]; s != nil && s.current != nil {
			e.Wait, e.StoppedMillis = s.current.waits(), s.current.spec.StoppedMillis
		}
		if console.end.OK || e.Wait.OK || e.StoppedMillis != 0 {
			list = append(list, e)
		}
	}
	slices.SortFunc(list, func(a, b messages.NamedEnd) int { return a.Name.Compare(b.Name) })
	return list
}

// inactive returns the consoles of unikernels that are gone.
func (h *host) inactive(name messages.Name) messages.Payload {
	if !name.IsPath() {
		return messages.Failure{Text: "name used"}
	}
	return messages.SuccessConsoles{List: h.consoles.inactive(name)}
}

// get reads an image for a client.
func (h *host) get(c *supervise.Context, a ask, command messages.UnikernelGet) {
	s := h.slots[a.name]
	switch {
	case s == nil || s.current == nil:
		h.answer(c, a.ticket, messages.Failure{Text: "get: no unikernel found"})
		return
	}
	if err := compressible(command.Level); err != nil {
		h.answer(c, a.ticket, messages.Failure{Text: c.Public(err)})
		return
	}
	config, spec := h.config, s.current.spec
	c.Go(func(ctx context.Context) any {
		image, err := config.readImage(ctx, a, spec.Digest, command.Level)
		return imageRead{a, command, spec, image, err}
	})
}

// readImage reads an image once there is memory for it, and then in turn of the tenants.
func (c *Config) readImage(ctx context.Context, a ask, digest messages.Digest, level int) ([]byte, error) {
	size, err := c.Machine.ImageSize(digest, level)
	if err != nil {
		return nil, err
	}
	if err := a.memory.Reserve(size); err != nil {
		return nil, fmt.Errorf("cannot read the image: %w", err)
	}
	var image []byte
	failed := c.Work.Do(ctx, a.name.Path.Tenant(), func() { image, err = c.Machine.ReadImage(digest, level) })
	return image, errors.Join(failed, err)
}

// compressible refuses a level that zlib does not have.
func compressible(level int) error {
	if level < compress.None || level > compress.Most {
		return fmt.Errorf("cannot compress at level %d: 0 to 9 are possible", level)
	}
	return nil
}

// imageRead is the result of reading an image.
type imageRead struct {
	ask     ask
	command messages.UnikernelGet
	spec    messages.Spec
	image   []byte
	err     error
}

func (h *host) imageRead(c *supervise.Context, m imageRead) {
	switch {
	case m.err != nil:
		h.answer(c, m.ask.ticket, messages.Failure{Text: c.Public(m.err)})
	case m.command.Form == 1:
		config := messages.Config{Type: m.spec.Type, Image: m.image, Arguments: m.spec.Arguments}
		h.answer(c, m.ask.ticket, messages.SuccessConfigs{List: []messages.NamedConfig{{Name: m.ask.name, Config: config}}})
	default:
		h.answer(c, m.ask.ticket, messages.SuccessImage{Compressed: m.command.Level > 0, Image: m.image})
	}
}

// status returns the status of all unikernels that are on record.
func (h *host) status() []messages.Status {
	list := make([]messages.Status, 0, len(h.slots))
	for name, t := range h.slots {
		r := t.current
		if r == nil || r.started.IsZero() && !r.wait.OK {
			continue
		}
		s := messages.Status{
			Name: name, Running: !r.wait.OK, Wait: r.waits(), Started: r.started, Restarts: r.restarts,
			Blocks: h.blockInfos(name, r.spec.Arguments),
		}
		if console := h.consoles.byName[name]; console != nil {
			s.End = console.end
		}
		list = append(list, s)
	}
	return list
}
