package main

import (
	"context"
	"fmt"
	"slices"

	"albatross/messages"
	"albatross/sockets/client"
)

// allArguments returns all arguments of a unikernel, except what it is started with, whether it runs or
// not. A daemon that is not ours, or behind an endpoint without sessions, does not know them.
func (inv inventory) allArguments(ctx context.Context, name messages.Name) (args messages.Arguments, known bool, err error) {
	list, known, err := inv.knownStatuses(ctx, name)
	switch {
	case err != nil || !known:
		return args, known, err
	case name.IsPath() || len(list) != 1 || list[0].State == messages.StateEnded:
		return args, true, &client.Refusal{Name: name, Text: "destroy: not found"} // in the daemon's words
	}
	settings, err := inv.settings(ctx, name)
	if err != nil || len(settings) != 1 {
		return args, true, err
	}
	args = list[0].Arguments
	args.CPUs = 1
	for _, b := range list[0].Blocks {
		args.Blocks = append(args.Blocks, messages.BlockDevice{
			Name: b.Name, Device: unless(b.Name, b.HostDevice()), SectorSize: unless(messages.BlockInfo{}.SectorBytes(), b.SectorBytes()),
		})
	}
	for i, n := range args.Networks {
		args.Networks[i] = messages.Network{
			Name: n.Name, Bridge: unless(n.Name, n.OnBridge()), MAC: unless(messages.Network{Name: n.Name}.Address(name), n.Address(name)),
		}
	}
	addSettings(&args, settings[0])
	return args, true, nil
}

// errOldDaemon is about a change of the health check by a daemon that cannot be asked for arguments.
const errOldDaemon = inputError("this daemon does not tell the arguments of its unikernels, and so their health checks cannot be changed: use 'create --force'")

// addsName reports whether the name of a unikernel is added to its arguments.
func (inv inventory) addsName(ctx context.Context, name messages.Name) bool {
	known, err := inv.settings(ctx, name)
	if err != nil {
		inv.out.message(warning, "the daemon does not tell whether it was created with --no-add-name: if it was, give that again")
		return true
	}
	return len(known) != 1 || known[0].AddName
}

// configOf returns the configuration with which the unikernel was created, as far as it
// can be known. The daemon lists all of its devices with chosen values: what it would
// choose itself is left out.
func configOf(u messages.NamedInfo, image []byte) messages.Config {
	args := messages.Arguments{ // an info lacks AddName
		Fail:      u.Info.Fail,
		Startup:   u.Info.Startup,
		AddName:   true,
		CPUIDs:    u.Info.CPUIDs,
		Memory:    u.Info.Memory,
		Argv:      u.Info.Argv,
		CPUs:      u.Info.CPUs,
		LinuxBoot: u.Info.LinuxBoot,
	}
	for _, b := range u.Info.Blocks {
		args.Blocks = append(args.Blocks, messages.BlockDevice{
			Name:       b.Name,
			Device:     unless(b.Name, b.HostDevice()),
			SectorSize: unless(messages.BlockInfo{}.SectorBytes(), b.SectorBytes()),
		})
	}
	for _, n := range u.Info.Networks {
		args.Networks = append(args.Networks, messages.Network{
			Name:   n.Name,
			Bridge: unless(n.Name, n.HostBridge()),
			MAC:    unless(messages.Network{Name: n.Name}.Address(u.Name), n.Address()),
		})
	}
	return messages.Config{Type: u.Info.Type, Image: image, Arguments: args}
}

// addSettings adds to the arguments of a unikernel what native messages have no word for.
func addSettings(args *messages.Arguments, s messages.NamedSettings) {
	args.AddName, args.Publish, args.Health, args.Origin = s.AddName, s.Publish, s.Health, s.Origin
	for _, n := range s.Networks {
		i := slices.IndexFunc(args.Networks, func(o messages.Network) bool { return o.Name == n.Name })
		if i >= 0 {
			args.Networks[i].IP, args.Networks[i].Static, args.Networks[i].Rate = n.IP, n.Static, n.Rate
		}
	}
}

// unless returns the value, or nothing if that is the default.
func unless[T comparable](byDefault, value T) (o messages.Option[T]) {
	if value != byDefault {
		o = messages.Some(value)
	}
	return o
}

// knownArguments returns the arguments of what runs; none if the daemon does not tell them all.
func (inv inventory) knownArguments(ctx context.Context, runs messages.NamedInfo) messages.Arguments {
	args, known, err := inv.allArguments(ctx, runs.Name)
	if err != nil || !known {
		inv.out.message(info, fmt.Sprintf("where its image is from is not known (%v)", err))
		return messages.Arguments{}
	}
	args.Argv = runs.Info.Argv
	return args
}
