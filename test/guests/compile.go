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

// Compiler names the compiler and linker that Compile would use, exactly
// enough that the same answer means the same output.
func Compiler() (string, error) {
	var versions []string
	for _, tool := range []string{"gcc", "ld"} {
		out, err := exec.Command(tool, "--version").Output()
		if err != nil {
			return "", fmt.Errorf("cannot ask %s for its version: %w", tool, err)
		}
		first, _, _ := strings.Cut(string(out), "\n")
		versions = append(versions, first)
	}
	return strings.Join(versions, ", "), nil
}

// Compile makes one image out of the sources in src: NAME.c, NAME_*.c, and what all share.
func Compile(src, name, target, out string) error {
	args := []string{
		"-std=c11", "-Os", "-Wall", "-Wextra", "-Werror",
		// No libc, no start-up code, nothing position independent.
		"-ffreestanding", "-nostdlib", "-static", "-fno-pic", "-no-pie",
		// Nothing that needs set-up by whoever starts the guest: a canary in
		// thread-local storage, shadow stacks.
		"-fno-stack-protector", "-fcf-protection=none",
		"-fno-asynchronous-unwind-tables", "-fno-tree-loop-distribute-patterns",
		// Touching address 0 is what one of the programs is for.
		"-fno-delete-null-pointer-checks", "-Wno-array-bounds",
		"-s", "-Wl,--build-id=none", "-Wl,-z,max-page-size=4096",
		"-Wl,-z,noexecstack", "-Wl,-z,norelro",
		"-Wl,-T," + filepath.Join(src, "guest.ld"), "-o", out,
	}
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
	if text, err := exec.Command("gcc", args...).CombinedOutput(); err != nil {
		return fmt.Errorf("cannot compile %s for %s: %w\n%s", name, target, err, text)
	}
	return os.Chmod(out, 0o644)
}

// Sums is the text of bin/SUMS: the compiler, then a hash for each source.
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
