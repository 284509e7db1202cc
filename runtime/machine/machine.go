// Package machine finds out what this machine has: CPUs, memory, bridges, disk space.
package machine

import (
	"fmt"
	"math/bits"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"albatross/messages"
	"albatross/runtime/cpulist"
	"albatross/runtime/netif"
)

// RootPolicy returns all that the machine has: the limit of all other policies. Block
// devices are files in blockDir, which must exist.
func RootPolicy(blockDir string) (messages.Policy, error) {
	p, err := rootPolicy(blockDir)
	if err != nil {
		return messages.Policy{}, fmt.Errorf("cannot find out what the machine has: %w", err)
	}
	return p, nil
}

func rootPolicy(blockDir string) (p messages.Policy, err error) {
	p.Unikernels = messages.MaxInt
	if p.CPUIDs, err = onlineCPUs(); err != nil {
		return p, err
	}
	if p.Memory, err = memory(); err != nil {
		return p, err
	}
	disk, err := diskSpace(blockDir)
	if err != nil {
		return p, err
	}
	p.Block = messages.Some(disk)
	p.Bridges, err = netif.Bridges()
	return p, err
}

// OfflineCPUs returns those of the wanted CPUs on which nothing can run now.
func OfflineCPUs(wanted []int) ([]int, error) {
	online, err := onlineCPUs()
	if err != nil {
		return nil, fmt.Errorf("cannot find out which CPUs there are: %w", err)
	}
	return cpulist.Missing(wanted, online), nil
}

func onlineCPUs() ([]int, error) {
	const path = "/sys/devices/system/cpu/online"
	list, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	cpus, err := cpulist.Parse(strings.TrimSpace(string(list)))
	if err != nil {
		return nil, fmt.Errorf("cannot understand %s: %q", path, list)
	}
	return cpus, nil
}

// memory returns the physical memory that the kernel manages, in MB.
func memory() (int, error) {
	var info unix.Sysinfo_t
	if err := unix.Sysinfo(&info); err != nil {
		return 0, fmt.Errorf("cannot ask for the memory: %w", err)
	}
	return megabytes(info.Totalram, uint64(info.Unit)), nil
}

// diskSpace returns the size of the file system of a directory in MB, as native albatross
// does: all of it, not what is free. The limit covers all block devices, the existing
// ones included, so it must not shrink when one is made.
func diskSpace(dir string) (int, error) {
	var stat unix.Statfs_t
	if err := unix.Statfs(dir, &stat); err != nil {
		return 0, fmt.Errorf("cannot ask for the size of the disk of %s: %w", dir, err)
	}
	return megabytes(stat.Blocks, uint64(stat.Frsize)), nil
}

// megabytes converts n units to full MB, at most the largest size in a message, since a
// file system may claim to be endless.
func megabytes(n, unit uint64) int {
	high, low := bits.Mul64(n, unit)
	mb := high<<44 | low>>20
	if high>>20 != 0 || mb > messages.MaxInt {
		return messages.MaxInt
	}
	return int(mb)
}
