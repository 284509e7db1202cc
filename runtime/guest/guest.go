// Package guest owns what the operating system has of a unikernel. It checks an image
// against the machine, and makes the console pipe, the cgroup, the taps and the process
// that becomes the tender, in an order in which the daemon may die at any moment. It
// finds them again by their records, and frees them.
//
// The caller decides whether and when that happens, and owns and frees what is returned.
package guest

import (
	"context"
	"errors"
	"os"

	"golang.org/x/sys/unix"

	"albatross/messages"
	"albatross/runtime/block"
	"albatross/runtime/cgroup"
	"albatross/runtime/confine"
	"albatross/runtime/fifo"
	"albatross/runtime/network"
	"albatross/runtime/proc"
	"albatross/runtime/store"
	"albatross/runtime/tender"
)

// A Machine runs unikernels. It does not change once it is in use. Goroutines may use it
// concurrently, one at a time for the same unikernel.
type Machine struct {
	Images     *store.Images
	KeepImages bool // also those on no record, because records are missing
	Blocks     *block.Dir
	Networks   *network.Networks // that have names; nil: there are none
	Cgroups    *cgroup.Tree      // nil: unikernels have none
	Tenders    *tender.Finder
	Launcher   []string         // see tender.Command
	FIFODir    string           // of the console pipes that have names
	Strangers  []tender.Running // found when the daemon started
	Keeping    *Keeping         // nil: this program is the parent of the tenders
	FullNames  bool             // unikernels get their full name as an argument
	Confine    *confine.Order   // what tenders give up beside what their filters forbid; nil: nothing
	Void       *confine.Void    // for which tenders give up mounts and network; nil: they keep them
	Missing    func(string)     // is told which layers of that a tender does without; nil: nobody is
}

// Equipment is what a tender is connected to, besides its console. All of it is found by
// the name of its unikernel, except for the taps.
type Equipment interface {
	// Links returns the taps, in the order of the networks.
	Links() []messages.Link
	// Launch makes a process that waits to become the tender.
	Launch(ctx context.Context) (Gated, error)
	// Close removes the taps that have not been kept, and takes what no tender got out of its
	// networks. It may be called again.
	Close()
}

// A Gated is a process that waits to become a tender. Until it is released, it ends when
// this program does.
type Gated interface {
	Process() messages.Process
	// Release lets the process become the tender and makes its taps permanent. Process
	// and taps must be on record before. After an error, the process is gone, and so are
	// the taps that were not kept.
	Release(ctx context.Context) (Tender, error)
	// Abort ends the process instead, even during Release. The error says that it still
	// runs.
	Abort() error
}

// A Tender is a process that runs a unikernel.
type Tender interface {
	// Wait waits for its end.
	Wait(ctx context.Context) (proc.End, error)
	// Signal sends a signal. It returns proc.ErrGone if the process has ended.
	Signal(signal unix.Signal) error
	// Close frees the handle; the process goes on.
	Close() error
}

// Console returns the path of the console pipe of a unikernel until Launch, or as long as
// another daemon runs it.
func (m *Machine) Console(name messages.Name) string { return fifo.Path(m.FIFODir, name) }

// MakeConsole makes the console pipe. Its name is that of the unikernel, by which it is
// found and freed after a crash. Launch removes the name.
func (m *Machine) MakeConsole(name messages.Name) error { return fifo.Create(m.Console(name)) }

// OpenConsole opens the console of a tender, to read it. It returns proc.ErrGone if the
// tender has ended, and what it printed last is nowhere.
func (m *Machine) OpenConsole(ctx context.Context, p messages.Process) (*os.File, error) {
	f, err := fifo.OpenOutput(p)
	if errors.Is(err, proc.ErrGone) { // but the keeper may still have the pipe
		if kept := m.Keeping.console(ctx, p); kept != nil {
			return kept, nil
		}
	}
	return f, err
}
