package vm

import (
	"regexp"
	"runtime"
	"testing"
)

// emulatedARM is a machine of arm64. It has one serial line: the kernel says nothing there unless
// it fails.
var emulatedARM = emulator{"vmlinuz-arm64", "arm64", "qemu-system-aarch64", []string{
	"-M", "virt,virtualization=on,gic-version=3", "-accel", "tcg", "-cpu", "max,pauth-impdef=on", "-smp", "2",
	"-append", "console=ttyAMA0 loglevel=1 panic=-1 mitigations=off",
}, "console"}

// onARM are the packages whose tests run on arm64: those with parts of their own for a processor,
// and the tests of what is made of them.
var onARM = []tested{
	{"runtime/seccomp", "."},
	{"runtime/image", "."},
	{"runtime/landlock", "."},
	{"runtime/spt", "."},
	{"runtime/hvt", "."},
	{"cmd/albatross-tender", "."},
	{"test/e2e", "^Test(Kill|KillLeavesNoTaps|Stop|ConsolesInAllModes|Network|SeveralDevices|RestartThatIsRefused|" +
		"ADaemonAndItsKeeperMayDie|AnAdoptedOneEndsByTheSameRules|Events|UnikernelsShareTheImageInTheStore|HVT|HVTThatFails)$"},
}

// skippedOnARM matches those of these tests that need what the machine does not have: a tender of
// Solo5, a program that it lacks, or a limit of memory.
var skippedOnARM = regexp.MustCompile("Solo5|TestReadImpliesExec|TestImpossibleMemoryIsRefused")

// TestARM64 runs tests on arm64, which are compiled here.
func TestARM64(t *testing.T) {
	prepared(t)
	t.Setenv("GOARCH", "arm64")
	files := withPrograms(t)
	script := testsIn(t, files, onARM)
	t.Setenv("GOARCH", runtime.GOARCH)
	output := emulatedARM.run(t, files, script)
	for _, p := range onARM {
		reportPackage(t, p.dir, output, skippedOnARM)
	}
}
