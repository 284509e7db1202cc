// Package guest owns what the operating system has of a unikernel: it checks an image
// against the machine, and makes the console pipe, the cgroup, the taps and the process
// that becomes the tender, in the order in which a daemon may die at any moment. It finds
// them again by what is on record, and frees them.
//
// Nothing here decides whether or when that happens, or keeps what it has returned:
// everything that is live belongs to the caller, who frees it.
package guest

import (
	"context"

	"golang.org/x/sys/unix"

	"albatross/messages"
	"albatross/runtime/block"
	"albatross/runtime/cgroup"
	"albatross/runtime/fifo"
	"albatross/runtime/store"
	"albatross/runtime/tender"
)

// A Machine is where unikernels run. It is not changed once it is in use, and may be
// used by many goroutines at once, by one at a time for the same unikernel.
type Machine struct {
	Images     *store.Images
	KeepImages bool // those that are on no record, too, where records are missing
	Blocks     *block.Dir
	Cgroups    *cgroup.Tree // nil: unikernels have none
	Tenders    *tender.Finder
	Launcher   []string         // see tender.Command
	FIFODir    string           // where console pipes are
	GID        int              // the group of these; negative: our own
	Strangers  []tender.Running // that ran when the daemon started, and are not on record
	FullNames  bool             // are told to unikernels, with their paths
}

// Equipment is what a tender is connected to, besides its console. It has the name of
// its unikernel, except for the taps.
type Equipment interface {
	// Links are the taps, in the order of the networks.
	Links() []messages.Link
	// Launch makes a process that waits to become the tender.
	Launch(ctx context.Context) (Gated, error)
	// Close has the taps vanish that have not been kept. It may be called again.
	Close()
}

// A Gated is a process that waits to become a tender. When this program ends, it ends
// too, until it is released.
type Gated interface {
	Process() messages.Process
	// Release lets the process become the tender, with the taps that are its own from
	// then on: process and taps have to be on record. After an error the process is
	// gone, and so are the taps that have not been kept.
	Release(ctx context.Context) (Tender, error)
	// Abort ends the process instead, even where it is just being released. The error
	// says that it is still there.
	Abort() error
}

// A Tender is a process that runs a unikernel.
type Tender interface {
	// Wait waits until it has ended.
	Wait(ctx context.Context) (messages.Exit, error)
	// Signal sends a signal. The error is proc.ErrGone where it has ended.
	Signal(signal unix.Signal) error
	// Close lets go of it; it goes on.
	Close() error
}

// Console is the path of the console pipe of a unikernel.
func (m *Machine) Console(name messages.Name) string { return fifo.Path(m.FIFODir, name) }

// MakeConsole makes the console pipe. Its name is that of the unikernel, and that is how
// it is found and freed after a crash.
func (m *Machine) MakeConsole(name messages.Name) error { return fifo.Create(m.Console(name), m.GID) }
