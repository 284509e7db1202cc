package main

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"albatross/cmd/nativestate"
	"albatross/messages"
	"albatross/sockets/wire"
)

func (a *app) inspectDumpCommand() *cobra.Command {
	file := nativestate.File
	c := &cobra.Command{
		Use:   "inspect-dump",
		Short: "Show what a state file of native albatross contains",
		Long: `Show the unikernels and policies in a state file of native albatross, such as 'export-state'
writes. No daemon is asked. Arguments of unikernels, which may be secrets, are shown with -v.`,
		Example: "  albatross-client inspect-dump --dbdir=/var/lib/albatross\n  albatross-client inspect-dump --file=./state",
		Args:    positional(),
		RunE: func(*cobra.Command, []string) error {
			state, err := a.readDump(file)
			if err != nil {
				return err
			}
			return a.print(a.dumpText(state))
		},
	}
	registerDump(c.Flags(), &file)
	return c
}

func (a *app) extractDumpCommand() *cobra.Command {
	file := nativestate.File
	to := output{}
	c := about(nameArgument, &cobra.Command{
		Use:   "extract-dump",
		Short: "Write an image in a state file of native albatross to a file",
		Long: `Write the image of a unikernel in a state file of native albatross to a file of its own, and
show what the unikernel is started with. No daemon is asked.`,
		Example: "  albatross-client extract-dump hello --dbdir=/var/lib/albatross -o hello.hvt",
	}, func(_ *cobra.Command, name messages.Name) error { return a.extractDump(file, name, &to) })
	c.ValidArgsFunction = func(_ *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
		return a.completeDump(file, args), cobra.ShellCompDirectiveNoFileComp
	}
	registerDump(c.Flags(), &file)
	to.register(c.Flags(), a.stdout)
	return c
}

func registerDump(flags *pflag.FlagSet, file *string) {
	flags.Var(one("FILE", parseText, file), "file", "the state file; without '/' in it, in the directory of --dbdir")
}

// readDump reads a state file. A name without a directory is in that of --dbdir, as natively.
func (a *app) readDump(file string) (wire.State, error) {
	path := file
	if !strings.Contains(file, "/") {
		path = filepath.Join(a.dbdir, file)
	}
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		return wire.State{}, noDump(path, err)
	}
	state, err := nativestate.Read(real)
	var atPath *fs.PathError
	switch {
	case errors.As(err, &atPath):
		return state, noDump(path, err)
	case err != nil:
		return state, inputError(fmt.Sprintf("couldn't parse dump file: %s: %s", escape(path), escape(err.Error())))
	}
	return state, nil
}

// noDump returns the error for a file that cannot be read.
func noDump(path string, err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return inputError(fmt.Sprintf("dump file not found: there is no %s.\n"+
			"Name it with --file, or its directory with --dbdir; 'albatross-client export-state' writes what runs now.", escape(path)))
	}
	return unreadable(path, err)
}

// dumpText shows a state in native's words.
func (a *app) dumpText(s wire.State) string {
	lines := []string{fmt.Sprintf("parsed %d unikernels:", len(s.Unikernels))}
	for _, u := range s.Unikernels {
		lines = append(lines, nameText(u.Name)+": "+configText(u.Config, a.showsArguments()))
	}
	lines = append(lines, fmt.Sprintf("parsed %d policies:", len(s.Policies)))
	for _, p := range s.Policies {
		lines = append(lines, policyText(p))
	}
	return strings.Join(lines, "\n")
}

func (a *app) extractDump(file string, name messages.Name, to *output) error {
	state, err := a.readDump(file)
	if err != nil {
		return err
	}
	for _, u := range state.Unikernels {
		if u.Name == name {
			return a.extract(u, to)
		}
	}
	return inputError(fmt.Sprintf("unikernel not found: there is no %s in the dump. 'albatross-client inspect-dump' shows which there are.",
		shortName(name)))
}

func (a *app) extract(u messages.NamedConfig, to *output) error {
	path, err := to.save(u.Name, nativestate.Image(u.Config))
	if err != nil {
		return fmt.Errorf("cannot save the image: %w", err)
	}
	return a.tell(to, func() error {
		return a.print("dumped image to " + escape(path) + "\n" + configText(u.Config, a.showsArguments()))
	})
}

// completeDump returns the names of unikernels in a state file.
func (a *app) completeDump(file string, args []string) (names []cobra.Completion) {
	state, err := a.readDump(file)
	if err != nil || len(args) > 0 {
		return nil
	}
	for _, u := range state.Unikernels {
		names = append(names, shortName(u.Name))
	}
	return names
}

// configText shows a configuration in native's words, and its arguments if they may be shown.
func configText(c messages.Config, arguments bool) string {
	startup := "not specified"
	if c.Startup.OK {
		startup = strconv.Itoa(c.Startup.Value)
	}
	lines := []string{
		fmt.Sprintf("typ %v compression %t image %d bytes", c.Type, c.Compressed, len(c.Image)),
		fmt.Sprintf("fail behaviour %s startup at %s add_name %t", failText(c.Fail), startup, c.AddName),
		fmt.Sprintf("CPUids %s %d MB memory", joined(c.CPUIDs, ", ", strconv.Itoa), c.Memory),
		strings.TrimSpace("block devices " + joined(c.Blocks, ", ", configuredBlock)),
		strings.TrimSpace("bridge " + joined(c.Networks, ", ", configuredNetwork)),
		fmt.Sprintf("#cpus %d linux_boot %s", c.CPUs, escape(c.LinuxBoot.Or("not specified"))),
	}
	if c.Argv.OK && arguments {
		lines = append(lines, "argv "+joined(c.Argv.Value, " ", escape))
	}
	return strings.Join(lines, "\n")
}

func configuredBlock(b messages.BlockDevice) string {
	text := fmt.Sprintf("%s -> %s", escape(b.Name), escape(b.Device.Or(b.Name)))
	if b.SectorSize.OK {
		text += fmt.Sprintf(", sector-size: %d", b.SectorSize.Value)
	}
	return text
}

func configuredNetwork(n messages.Network) string {
	text := fmt.Sprintf("%s -> %s", escape(n.Name), escape(n.OnBridge()))
	if n.MAC.OK {
		text += "@" + n.MAC.Value.String()
	}
	return text
}
