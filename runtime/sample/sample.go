// Package sample owns the measuring of running unikernels: what their processes
// have used, from /proc, and what has passed through their taps, from the kernel's
// counters. All of them are measured in one pass.
//
//	sample.go   passes over many targets
//	process.go  a process: its files in /proc, held so that a reused pid is noticed
//	parse.go    what is in these files
//	taps.go     the counters of all network interfaces
//
// What cannot be measured is left out. A zero is one that the kernel has said.
package sample

import (
	"errors"
	"time"

	"golang.org/x/sys/unix"

	"albatross/messages"
	"albatross/runtime/proc"
)

// A Pass is what was measured of several targets at about the same time.
type Pass struct {
	Samples []messages.Sample
	Gone    []messages.Target // whose process is not there any more
	Err     error             // the first of what went wrong otherwise
}

// Take measures targets, with what they have had read and written only where that
// is wanted: each file in /proc has its price. One target takes some 40
// microseconds.
func Take(targets []messages.Target, blockIO bool) (p Pass) {
	counters, err := readCounters(targets)
	p.note(err)
	r := newReader(blockIO)
	for _, t := range targets {
		u, err := r.usage(t.Process)
		if errors.Is(err, proc.ErrGone) {
			p.Gone = append(p.Gone, t)
			continue
		}
		if err != nil {
			p.note(err)
			continue
		}
		p.Samples = append(p.Samples, messages.Sample{
			Name:    t.Name,
			Started: t.Started,
			Stats: messages.DataStats{
				Rusage:   u.rusage(),
				IfData:   counters.of(t.Ports),
				KinfoMem: messages.Some(u.memory(t.Started)),
			},
			IO: u.io,
		})
	}
	return p
}

func (p *Pass) note(err error) {
	if p.Err == nil {
		p.Err = err
	}
}

// Find tells who has a pid now, and when that was started.
func Find(pid int) (messages.Process, time.Time, error) {
	process, err := proc.Identify(pid)
	if err != nil {
		return messages.Process{}, time.Time{}, err
	}
	var sinceBoot unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &sinceBoot); err != nil {
		return messages.Process{}, time.Time{}, err
	}
	age := time.Duration(sinceBoot.Nano()) - time.Duration(process.StartTime)*tick
	return process, time.Now().Add(-age).Round(0), nil
}
