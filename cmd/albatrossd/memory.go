package main

import (
	"fmt"
	"log/slog"
	"os"
	"runtime/debug"

	"github.com/KimMachineGun/automemlimit/memlimit"

	"albatross/sockets/wire"
)

// What commands that are under way take together, in bytes: a quarter of the
// memory, between these. An image is in memory until it has been written to the
// image store.
const (
	leastCommandMemory = 64 << 20
	mostCommandMemory  = 1 << 30
)

// otherMemory is what the daemon takes besides commands, in bytes, with thousands of
// unikernels.
const otherMemory = 256 << 20

// A budget is how the daemon divides the memory that it may use.
type budget struct {
	commands int64 // of clients, together
	frame    int   // the largest command
	runtime  int64 // from which on Go collects garbage more often
}

// divide makes a budget of so many bytes. One command at a time may take as much
// again as there is for all of them, and half of that while its buffer grows.
func divide(memory uint64) budget {
	quarter := int64(min(memory/4, mostCommandMemory))
	commands := max(quarter, leastCommandMemory)
	return budget{
		commands: commands,
		frame:    int(min(commands, wire.MaxFrame)),
		runtime:  commands*5/2 + otherMemory,
	}
}

// useMemory makes the budget of the machine, or of the cgroup of the daemon where
// that allows less, and has the Go runtime keep it, unless GOMEMLIMIT says otherwise.
func useMemory(log *slog.Logger) (budget, error) {
	memory, err := memlimit.FromSystem()
	if err != nil {
		return budget{}, fmt.Errorf("cannot find out how much memory there is: %w", err)
	}
	if limit, err := memlimit.FromCgroup(); err == nil { // otherwise it has none, or that is not to be seen
		memory = min(memory, limit)
	}
	b := divide(memory)
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(b.runtime)
	}
	log.Debug("Memory is divided", "bytes", memory, "commands", b.commands, "largest", b.frame, "runtime", b.runtime)
	return b, nil
}
