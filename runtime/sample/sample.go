// Package sample measures running unikernels: what their processes have used, from /proc,
// and what has passed through their taps, from the kernel's counters. One pass measures all
// of them.
//
//	sample.go   passes over many targets
//	process.go  a process: its files in /proc, which stay those of the same process
//	parse.go    what is in these files
//	taps.go     the counters of all network interfaces
//
// What cannot be measured is left out. A zero is one that the kernel has shown.
package sample

import (
	"errors"
	"math"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"albatross/messages"
	"albatross/runtime/proc"
)

// A Pass is what was measured of several targets at about the same time.
type Pass struct {
	Samples []messages.Sample
	Gone    []messages.Target // whose process is gone
	Err     error             // the first other error
}

// A Sampler measures the same targets again and again. It keeps the files of their
// processes open between passes: opening them costs more than reading them.
type Sampler struct {
	mu     sync.Mutex // held during a pass
	closed bool
	passes uint64
	open   map[messages.Process]*files
	most   int // processes whose files are kept open
	buffer []byte
}

// New returns a Sampler, which the caller must close.
func New() *Sampler {
	return &Sampler{open: map[messages.Process]*files{}, most: mostOpen(), buffer: make([]byte, firstBuffer)}
}

// A Sampler keeps at most one share-th of this process's limit of descriptors open.
const share = 4

func mostOpen() int {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return 0 // then they are opened each time
	}
	return int(min(limit.Cur, math.MaxInt32)) / share / filesEach
}

// Close closes all files, after the pass under way.
func (s *Sampler) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	for process, f := range s.open {
		f.close()
		delete(s.open, process)
	}
}

// Take measures targets, with what they have read and written only if blockIO is set:
// each file in /proc has its price. After Close it measures nothing.
func (s *Sampler) Take(targets []messages.Target, blockIO bool) (p Pass) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return Pass{}
	}
	s.passes++
	counters, err := readCounters(targets)
	p.note(err)
	for _, t := range targets {
		u, err := s.usage(t.Process, blockIO)
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
	s.closeOthers()
	return p
}

func (p *Pass) note(err error) {
	if p.Err == nil {
		p.Err = err
	}
}

// Find returns the process that has a pid now, and its start. It returns proc.ErrForeign
// for a process of another user.
func Find(pid int, user uint32) (messages.Process, time.Time, error) {
	process, err := proc.Identify(pid)
	if err == nil {
		err = proc.RequireOwner(process, user)
	}
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
