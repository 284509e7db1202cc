package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"runtime/debug"
	"runtime/metrics"
	"time"

	"github.com/KimMachineGun/automemlimit/memlimit"

	"albatross/sockets/wire"
)

// The limits of the memory for all commands under way, in bytes: a quarter of the memory,
// between these. An image is in memory until it is in the image store.
const (
	leastCommandMemory = 64 << 20
	mostCommandMemory  = 1 << 30
)

// otherMemory is what the daemon uses besides commands, in bytes, with thousands of
// unikernels.
const otherMemory = 256 << 20

// A budget divides the memory of the daemon.
type budget struct {
	commands int64 // of clients, together
	frame    int   // the largest command
	runtime  int64 // the Go runtime's soft limit
}

// divide divides so many bytes. One command at a time may use as much again as all others
// together, and half of that while its buffer grows.
func divide(memory uint64) budget {
	quarter := int64(min(memory/4, mostCommandMemory))
	commands := max(quarter, leastCommandMemory)
	return budget{
		commands: commands,
		frame:    int(min(commands, wire.MaxFrame)),
		runtime:  commands*5/2 + otherMemory,
	}
}

// useMemory returns the budget of the machine, or of the daemon's cgroup if that allows
// less, and sets the limit of the Go runtime, unless GOMEMLIMIT does.
func useMemory(log *slog.Logger) (budget, error) {
	memory, err := memlimit.FromSystem()
	if err != nil {
		return budget{}, fmt.Errorf("cannot find out how much memory there is: %w", err)
	}
	if limit, err := memlimit.FromCgroup(); err == nil { // otherwise there is no limit, or it is not visible
		memory = min(memory, limit)
	}
	b := divide(memory)
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(b.runtime)
	}
	log.Debug("Memory is divided", "bytes", memory, "commands", b.commands, "largest", b.frame, "runtime", b.runtime)
	return b, nil
}

// Memory of the heap that is free stays with the daemon for minutes. It is returned when there has
// been work, and there is none any more.
const (
	restAfter = 10 * time.Second
	// someWork is how much is allocated, in bytes, by work that makes the return worth while: it
	// takes as long as a collection of garbage. A daemon with a thousand unikernels that watches
	// them, and nothing else, allocates less than noWork in such a time.
	someWork = 8 << 20
	noWork   = 2 << 20
)

// returnMemory does so until ctx is done.
func returnMemory(ctx context.Context) {
	every := time.NewTicker(restAfter)
	defer every.Stop()
	allocated := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	var r rest
	for {
		select {
		case <-ctx.Done():
			return
		case <-every.C:
			if metrics.Read(allocated); r.begins(allocated[0].Value.Uint64()) {
				debug.FreeOSMemory()
			}
		}
	}
}

// A rest is what has been allocated altogether, in bytes, by when memory was last returned, and
// when it was last looked at.
type rest struct{ returned, before uint64 }

// begins reports whether work has ended since memory was last returned.
func (r *rest) begins(allocated uint64) bool {
	idle := allocated-r.before < noWork
	r.before = allocated
	if !idle || allocated-r.returned < someWork {
		return false
	}
	r.returned = allocated
	return true
}
