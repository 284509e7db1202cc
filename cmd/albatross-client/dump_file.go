package main

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/spf13/pflag"

	"albatross/cmd/nativestate"
	"albatross/messages"
	"albatross/sockets/wire"
)

func registerDump(flags *pflag.FlagSet, file *string) {
	flags.Var(one("FILE", parseText, file), "file", "the state file; without '/' in it, in the directory of --dbdir")
}

// readDump reads a state file. A name without a directory is in that of --dbdir, as natively.
func readDump(d *daemon, file string) (wire.State, error) {
	path := file
	if !strings.Contains(file, "/") {
		path = filepath.Join(d.dbdir, file)
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
