// Package guests holds our own small unikernels: a few lines of C each, for
// both targets and both processors, compiled and committed, so that everything that needs a
// unikernel to run has one and nothing but the rebuilding of them needs a
// compiler.
//
//	hello    says hello with its command line, then ticks once a second
//	         (--quiet: does not tick, --once: exits)
//	exit     exits with the code given, after the milliseconds given
//	chatty   prints as many lines as it is told, then sleeps or exits
//	abort    ends like solo5_abort
//	fault    touches memory it must not touch
//	fpu      computes with floating-point numbers
//	large    reads all segments that Grow has added to it
//	memory   touches all memory it may touch
//	attack   asks its tender for parts of devices and memory that there are not
//	badcall  asks its tender for what it must not get
//	disk     reads and writes the block device "storage"
//	net      sends back each frame of the network device "service"
//	several  declares several devices
//	web      is a server of HTTP on the network device "service"
//
// The head of src/NAME.c tells the arguments. After a change in src,
//
//	go generate ./test/guests
//
// rebuilds all of bin with the compilers it finds (Debian's gcc-x86-64-linux-gnu and
// gcc-aarch64-linux-gnu); commit sources and binaries
// together. The tests compare bin/SUMS with the sources and, where the very
// same compiler is installed, the binaries byte by byte.
package guests

import (
	"embed"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"runtime"
)

//go:generate go run ./build src bin

//go:embed bin
var files embed.FS

// Names lists the programs.
func Names() []string {
	return []string{
		"abort", "attack", "badcall", "chatty", "disk", "exit", "fault", "fpu", "hello",
		"large", "memory", "net", "several", "web",
	}
}

// Targets lists the targets each program is compiled for.
func Targets() []string { return []string{"hvt", "spt"} }

// Image returns the image of a program for a target, and for the processor of this machine. A
// guest that does not exist is a mistake of the caller, who named it in the source: it panics.
func Image(name, target string) []byte { return ImageFor(runtime.GOARCH, name, target) }

// ImageFor is Image for a processor, under its name in Go.
func ImageFor(architecture, name, target string) []byte {
	for _, a := range Architectures {
		if image, err := files.ReadFile(path.Join("bin", a.Dir, name+"."+target)); a.Name == architecture && err == nil {
			return image
		}
	}
	panic(fmt.Sprintf("internal error: no guest %s for %s on %s", name, target, architecture))
}

// TB is what Write needs of a *testing.T.
type TB interface {
	Helper()
	Fatalf(format string, args ...any)
}

// Write puts the image of a program into a directory, readable by everyone,
// and returns its path.
func Write(t TB, dir, name, target string) string {
	t.Helper()
	path := filepath.Join(dir, name+"."+target)
	if err := os.WriteFile(path, Image(name, target), 0o644); err != nil {
		t.Fatalf("cannot write guest: %v", err)
	}
	return path
}

// KVM returns why this process cannot run images for hvt, or nil if it can.
func KVM() error {
	kvm, err := os.OpenFile("/dev/kvm", os.O_RDWR, 0)
	if err != nil {
		return err
	}
	return kvm.Close()
}
