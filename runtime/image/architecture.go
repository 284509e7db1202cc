package image

import (
	"fmt"
	"os"
	"runtime"
)

// Architecture is the processor that an image was compiled for, under its name in Go, which is
// that in registries.
type Architecture string

// The architectures of unikernels.
const (
	AMD64 Architecture = "amd64"
	ARM64 Architecture = "arm64"
)

// Host is the architecture of this program, and so of the images that it can run.
const Host = Architecture(runtime.GOARCH)

// machines are their numbers in ELF headers.
var machines = map[uint16]Architecture{62: AMD64, 183: ARM64}

// Machine returns the number of the host's architecture in ELF headers.
func (a Architecture) Machine() uint16 {
	for machine, architecture := range machines {
		if architecture == a {
			return machine
		}
	}
	return 0
}

// ForHost refuses an image for another processor than that of this host, or whose segments share
// pages of the host's kernel. From then on, the pages of its segments are those of the kernel.
func (i *Image) ForHost() error {
	if i.Architecture != Host {
		return fmt.Errorf("cannot run image: it is for %v, and this host is %v", i.Architecture, Host)
	}
	return i.usePages(uint64(os.Getpagesize()))
}

// usePages makes size the size of pages. Kernels for arm64 have pages of 4, 16, or 64 KB.
func (i *Image) usePages(size uint64) error {
	end := uint64(0)
	for n := range i.Segments {
		s := &i.Segments[n]
		s.page = size
		if s.FirstPage() < end {
			return fmt.Errorf("cannot run image: two of its segments are in one page of the host, which has %d KB: build it with -z max-page-size=%d", size>>10, size)
		}
		end = s.EndPage()
	}
	i.End = max(i.End, end)
	return nil
}
