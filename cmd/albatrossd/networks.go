package main

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"

	"albatross/runtime/network"
)

// openNetworks returns the named networks of this machine. Their program is installed beside this
// one; where it is missing, no network can be made. What finds the processes again is below
// --dbdir: below --tmpdir it may be swept while they run.
func openNetworks(o options, programs string, log *slog.Logger) (*network.Networks, error) {
	dir := filepath.Join(o.dbdir, "network")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("cannot make the directory of networks: %w", err)
	}
	return network.New(dir, filepath.Join(programs, "albatross-network"), version, log), nil
}
