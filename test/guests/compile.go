package guests

import (
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"strings"
)

// An Architecture is a processor that the programs are compiled for.
type Architecture struct {
	Name  string // as in Go
	Dir   string // of its images, in bin
	tools string // what the names of its compiler and linker begin with
	flags []string
}

// Architectures lists those that each program is compiled for.
var Architectures = []Architecture{
	{"amd64", "", "x86_64-linux-gnu-", []string{"-fcf-protection=none"}}, // no shadow stacks
	{"arm64", "arm64", "aarch64-linux-gnu-", []string{"-mno-outline-atomics", "-mbranch-protection=none"}},
}

// Compiler names the compiler and linker that Compile would use, exactly
// enough that the same answer means the same output.
func (a Architecture) Compiler() (string, error) {
	var versions []string
	for _, tool := range []string{"gcc", "ld"} {
		out, err := exec.Command(a.tools+tool, "--version").Output()
		if err != nil {
			return "", fmt.Errorf("cannot ask %s for its version: %w", tool, err)
		}
		first, _, _ := strings.Cut(string(out), "\n")
		versions = append(versions, first)
	}
	return strings.Join(versions, ", "), nil
}

// Compile makes one image out of the sources in src: NAME.c, NAME_*.c, and what all share.
func (a Architecture) Compile(src, name, target, out string) error {
	args := []string{
		"-std=c11", "-Os", "-Wall", "-Wextra", "-Werror",
		// No libc, no start-up code, nothing position independent.
		"-ffreestanding", "-nostdlib", "-static", "-fno-pic", "-no-pie",
		// Nothing that needs set-up by whoever starts the guest: a canary in
		// thread-local storage.
		"-fno-stack-protector",
		"-fno-asynchronous-unwind-tables", "-fno-tree-loop-distribute-patterns",
		// Touching address 0 is what one of the programs is for.
		"-fno-delete-null-pointer-checks", "-Wno-array-bounds",
		"-s", "-Wl,--build-id=none", "-Wl,-z,max-page-size=4096",
		"-Wl,-z,noexecstack", "-Wl,-z,norelro",
		"-Wl,-T," + filepath.Join(src, "guest.ld"), "-o", out,
	}
	args = append(args, a.flags...)
	// Not every KVM runs a guest that uses vector registers, so one program does.
	if name != "fpu" {
		args = append(args, "-mgeneral-regs-only")
	}
	parts, err := filepath.Glob(filepath.Join(src, name+"_*.c"))
	if err != nil {
		return err
	}
	sort.Strings(parts)
	for _, file := range []string{name, "common", target} {
		args = append(args, filepath.Join(src, file+".c"))
	}
	args = append(args, parts...)
	if text, err := exec.Command(a.tools+"gcc", args...).CombinedOutput(); err != nil {
		return fmt.Errorf("cannot compile %s for %s on %s: %w\n%s", name, target, a.Name, err, text)
	}
	return os.Chmod(out, 0o644)
}

// Sums is the text of SUMS beside images: the compiler, then a hash for each source.
// This file is not among them, so a changed flag is caught by the comparison of
// the binaries only.
func Sums(src, compiler string) (string, error) {
	entries, err := filepath.Glob(filepath.Join(src, "*"))
	if err != nil {
		return "", err
	}
	sort.Strings(entries)
	lines := []string{"compiler " + compiler}
	for _, path := range entries {
		data, err := os.ReadFile(path)
		if err != nil {
			return "", fmt.Errorf("cannot read source of guests: %w", err)
		}
		lines = append(lines, fmt.Sprintf("%x  %s", sha256.Sum256(data), filepath.Base(path)))
	}
	return strings.Join(lines, "\n") + "\n", nil
}
