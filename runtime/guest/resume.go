package guest

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"albatross/messages"
	"albatross/runtime/keeper/wire"
	"albatross/runtime/proc"
	"albatross/runtime/tender"
)

// held is a tender, held by its handle; its cgroup completes what is known of its end.
type held struct {
	*proc.Handle
	machine *Machine
	name    messages.Name
}

func (h *held) Wait(ctx context.Context) (proc.End, error) {
	end, err := h.Handle.Wait(ctx)
	if err != nil {
		return proc.End{}, err
	}
	if reported, ok := h.machine.Keeping.report(ctx, h.Process()); ok { // it is the parent
		end = reported
	}
	end.Exit = h.machine.completeExit(h.name, end.Exit)
	return end, nil
}

// Found is what Resume has found of a recorded tender.
type Found struct {
	Tender Tender          // if it runs
	Since  time.Time       // when that was started, by the clock as it is now: it may have been set
	End    proc.End        // if it has ended
	Cut    messages.Public // why it has not ended by itself; empty: it has
	At     time.Time       // when it has ended; zero: nobody saw that
}

// Resume looks for a recorded tender. It returns proc.ErrGone if that has ended. A tender
// was cut off if the machine has rebooted since, or if it was never released.
func (m *Machine) Resume(ctx context.Context, name messages.Name, r messages.Runtime) (Found, error) {
	if end, ended := m.Keeping.end(r.Process); ended && r.Released {
		return m.keptEnd(name, end), fmt.Errorf("process %d: %w", r.Process.PID, proc.ErrGone)
	}
	handle, err := m.open(r)
	if err == nil {
		m.Keeping.adopt(ctx, name, r.Process, m.cgroupDirs(name))
	}
	switch {
	case err == nil && handle.Ended(): // and nobody has reaped it
		return m.unseenEnd(ctx, &held{handle, m, name})
	case err == nil:
		return m.running(handle, name, r.Process)
	case !errors.Is(err, proc.ErrGone):
		return Found{}, err
	}
	boot, bootErr := proc.BootID()
	switch {
	case bootErr == nil && boot != r.Process.BootID:
		return Found{Cut: "the machine was started anew"}, err
	case !r.Released:
		return Found{Cut: "the daemon ended while it started or replaced it"}, err
	}
	return Found{End: proc.End{Exit: m.completeExit(name, messages.Exit{})}}, err
}

// running returns a tender that runs.
func (m *Machine) running(handle *proc.Handle, name messages.Name, p messages.Process) (Found, error) {
	since, err := proc.Started(p)
	if err != nil {
		return Found{}, errors.Join(err, handle.Close())
	}
	return Found{Tender: &held{handle, m, name}, Since: since}, nil
}

// keptEnd returns how a tender has ended as the keeper knows it.
func (m *Machine) keptEnd(name messages.Name, end wire.End) Found {
	found := Found{End: proc.End{Exit: m.completeExit(name, end.Exit), Usage: end.Usage()}}
	if end.AtMillis > 0 {
		found.At = time.UnixMilli(end.AtMillis)
	}
	return found
}

// open returns a handle for the process of a record, if that is a tender.
func (m *Machine) open(r messages.Runtime) (*proc.Handle, error) {
	handle, err := proc.Open(r.Process)
	if err != nil || r.Released {
		return handle, err
	}
	if err := tender.Settle(m.Launcher, handle); err != nil {
		_ = handle.Close()
		return nil, err
	}
	return handle, nil
}

// unseenEnd returns how a tender has ended whose end nobody saw.
func (m *Machine) unseenEnd(ctx context.Context, t *held) (Found, error) {
	defer func() { _ = t.Close() }()
	end, err := t.Wait(ctx)
	if err != nil {
		return Found{}, err
	}
	return Found{End: end}, proc.ErrGone
}

// completeExit completes an exit by what the cgroup knows: the kernel may have killed a tender
// for lack of memory while nobody watched.
func (m *Machine) completeExit(name messages.Name, exit messages.Exit) messages.Exit {
	if m.Cgroups == nil || exit.Known && exit.Signal != int(unix.SIGKILL) {
		return exit
	}
	if killed, err := m.Cgroups.OutOfMemory(name); err != nil || !killed {
		return exit
	}
	return messages.Exit{Known: true, Signal: int(unix.SIGKILL), OutOfMemory: true}
}
