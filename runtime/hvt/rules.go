package hvt

import (
	"fmt"
	"os"
	"slices"
	"unsafe"

	"golang.org/x/sys/unix"

	"albatross/runtime/image"
	"albatross/runtime/landlock"
	"albatross/runtime/seccomp"
	"albatross/runtime/signals"
	"albatross/runtime/solo5"
)

// rules lists what this process may do while the guest runs; the frequent calls come first.
// What only the runtime of Go does comes last: it may start a thread at any time.
func (g *Guest) rules() []seccomp.Rule {
	cpu := seccomp.Is(0, uint64(g.machine.cpu))
	rules := []seccomp.Rule{
		seccomp.Allow(unix.SYS_IOCTL, cpu, seccomp.Is(1, kvmRun)),
		seccomp.Allow(unix.SYS_PPOLL),
	}
	for _, d := range g.devices {
		rules = append(rules, deviceRules(d)...)
	}
	rules = append(rules,
		seccomp.Allow(unix.SYS_WRITE, seccomp.Is(0, uint64(unix.Stdout))),
		seccomp.Allow(unix.SYS_WRITE, seccomp.Is(0, uint64(unix.Stderr))),
		seccomp.Allow(unix.SYS_CLOCK_GETTIME, seccomp.Is(0, unix.CLOCK_MONOTONIC)),
		seccomp.Allow(unix.SYS_CLOCK_GETTIME, seccomp.Is(0, unix.CLOCK_REALTIME)),
		seccomp.Allow(unix.SYS_RESTART_SYSCALL), // of ppoll and futex, after SIGSTOP
		seccomp.Allow(unix.SYS_EXIT_GROUP),
	)
	for _, request := range stateRequests {
		rules = append(rules, seccomp.Allow(unix.SYS_IOCTL, cpu, seccomp.Is(1, request)))
	}
	return append(append(rules, g.core.rules()...), runtimeRules()...)
}

// deviceRules allow the use of a device. No frame is read by an offset, and no block device
// beyond its end.
func deviceRules(d solo5.Device) []seccomp.Rule {
	this := seccomp.Is(0, uint64(d.File))
	if d.Kind == image.Net {
		return []seccomp.Rule{seccomp.Allow(unix.SYS_READ, this), seccomp.Allow(unix.SYS_WRITE, this)}
	}
	size, offset := seccomp.AtMost(2, d.Capacity), seccomp.AtMost(3, d.Capacity-uint64(d.SectorSize))
	return []seccomp.Rule{
		seccomp.Allow(unix.SYS_PREAD64, this, size, offset),
		seccomp.Allow(unix.SYS_PWRITE64, this, size, offset),
	}
}

// runtimeRules allow what the runtime of Go needs: memory that nothing executes, threads,
// and to wait for each other.
func runtimeRules() []seccomp.Rule {
	return append(seccomp.ThreadPointer(),
		seccomp.Allow(unix.SYS_FUTEX),
		seccomp.Allow(unix.SYS_NANOSLEEP),
		seccomp.Allow(unix.SYS_SCHED_YIELD),
		seccomp.Allow(unix.SYS_RT_SIGRETURN),
		seccomp.Allow(unix.SYS_RT_SIGPROCMASK),
		seccomp.Allow(unix.SYS_RT_SIGACTION),
		seccomp.Allow(unix.SYS_SIGALTSTACK),
		seccomp.Allow(unix.SYS_MADVISE),
		seccomp.Allow(unix.SYS_MMAP, seccomp.NoneOf(2, unix.PROT_EXEC), seccomp.Is(4, noFile)),
		seccomp.Allow(unix.SYS_MUNMAP),
		seccomp.Allow(unix.SYS_PRCTL, seccomp.Is(0, unix.PR_SET_VMA)), // names memory
		seccomp.Allow(unix.SYS_CLONE, seccomp.Is(0, threadFlags)),
		seccomp.Allow(unix.SYS_GETTID),
		seccomp.Allow(unix.SYS_GETPID),
		seccomp.Allow(unix.SYS_TGKILL, seccomp.Is(0, uint64(os.Getpid()))),
		seccomp.Allow(unix.SYS_EXIT), // of a thread
	)
}

// processName is what ps and top show.
var processName = []byte("albatross-hvt\x00")

// confine gives up what the process does not need any more.
func (g *Guest) confine() error {
	filter := seccomp.Compile(g.rules())
	if err := closeOthers(g.descriptors()); err != nil {
		return fmt.Errorf("cannot close descriptors: %w", err)
	}
	for _, s := range []unix.Signal{unix.SIGHUP, unix.SIGINT, unix.SIGQUIT, unix.SIGPIPE, unix.SIGTERM} {
		if err := resetSignal(s); err != nil {
			return fmt.Errorf("cannot reset signals: %w", err)
		}
	}
	if err := unix.Prctl(unix.PR_SET_NAME, uintptr(unsafe.Pointer(&processName[0])), 0, 0, 0); err != nil {
		return fmt.Errorf("cannot name process: %w", err)
	}
	if err := landlock.Restrict(0, g.core.paths()...); err != nil {
		return fmt.Errorf("cannot confine tender: %w", err)
	}
	if err := seccomp.Confine(filter); err != nil {
		return fmt.Errorf("cannot confine tender: %w", err)
	}
	return nil
}

// descriptors returns those that the process keeps, besides the first three.
func (g *Guest) descriptors() []int {
	keep := []int{g.machine.cpu}
	for _, d := range g.devices {
		keep = append(keep, d.File)
	}
	keep = append(keep, solo5.Peers(g.devices)...)
	if g.core.directory >= 0 {
		keep = append(keep, g.core.directory, g.core.file)
	}
	return keep
}

// closeOthers closes all other descriptors that whoever started us left open. The runtime
// has none, as long as it waits for none.
func closeOthers(keep []int) error {
	slices.Sort(keep)
	first := uint(3)
	for _, fd := range keep {
		if uint(fd) > first {
			if err := unix.CloseRange(first, uint(fd)-1, 0); err != nil {
				return err
			}
		}
		first = uint(fd) + 1
	}
	return unix.CloseRange(first, 1<<32-1, 0)
}

// resetSignal has the kernel end the process at a signal, without the runtime of Go, unless
// whoever started us has it ignored.
func resetSignal(s unix.Signal) error {
	ignored, err := signals.Ignored(s)
	if err != nil || ignored {
		return err
	}
	return signals.Reset(s)
}
