// Package sample owns the measuring of running unikernels: what their processes
// have used, from /proc, and what has passed through their taps, from the kernel's
// counters. All of them are measured in one pass.
//
//	sample.go   passes over many targets
//	process.go  a process: its files in /proc, which stay those of the same process
//	parse.go    what is in these files
//	taps.go     the counters of all network interfaces
//
// What cannot be measured is left out. A zero is one that the kernel has said.
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
	Gone    []messages.Target // whose process is not there any more
	Err     error             // the first of what went wrong otherwise
}

// A Sampler measures the same targets again and again. It keeps the files of their
// processes open between two passes: to open them costs more than to read them.
type Sampler struct {
	mu     sync.Mutex // held during a pass
	closed bool
	passes uint64
	open   map[messages.Process]*files
	most   int // processes whose files are kept open
	buffer []byte
}

// New has no files open yet. The Sampler is to be closed.
func New() *Sampler {
	return &Sampler{open: map[messages.Process]*files{}, most: mostOpen(), buffer: make([]byte, firstBuffer)}
}

// share is the part of the descriptors that this process may have which are kept
// open here.
const share = 4

func mostOpen() int {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return 0 // then they are opened each time
	}
	return int(min(limit.Cur, math.MaxInt32)) / share / filesEach
}

// Close lets go of all files, when the pass that is under way has ended.
func (s *Sampler) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	for process, f := range s.open {
		f.close()
		delete(s.open, process)
	}
}

// Take measures targets, with what they have had read and written only where that
// is wanted: each file in /proc has its price. Nothing is measured once the Sampler
// has been closed.
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

// Find returns who has a pid now, and when that was started. The error is
// proc.ErrForeign where it is not a process of that user.
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
