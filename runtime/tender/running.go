package tender

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"albatross/messages"
	"albatross/runtime/proc"
	"albatross/runtime/tender/launcher"
)

// A Running is a process that was started as a tender by anybody.
type Running struct {
	Process messages.Process
	Program string
	// Guest is what it runs. Its name stays among the arguments, and addresses that were
	// not given are zero.
	Guest  Guest
	Odd    bool   // it has further options that we do not understand
	Output string // the file of its standard output, also if removed; empty: unknown
}

// String identifies it for people, without the arguments, which may be secrets.
func (r Running) String() string {
	return fmt.Sprintf("process %d (%s of %s)", r.Process.PID, filepath.Base(r.Program), r.Guest.Image)
}

// Runs reports whether the process still exists and has not ended.
func (r Running) Runs() bool {
	h, err := proc.Open(r.Process)
	if err != nil {
		return !errors.Is(err, proc.ErrGone)
	}
	defer func() { _ = h.Close() }()
	return !h.Ended()
}

// FindRunning returns all tenders that run on this machine, as far as we may see them, without
// those that are known. To inspect one takes ten times as long as to recognise it.
func FindRunning(known []messages.Process) (list []Running, err error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, fmt.Errorf("cannot look for tenders: %w", err)
	}
	byPID := make(map[int]messages.Process, len(known))
	for _, p := range known {
		byPID[p.PID] = p
	}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || isThat(pid, byPID) {
			continue
		}
		if r, ok := findRunning(pid); ok {
			list = append(list, r)
		}
	}
	return list, nil
}

// isThat reports whether the process that has a pid now is the one that is known by it.
func isThat(pid int, known map[int]messages.Process) bool {
	p, there := known[pid]
	if !there {
		return false
	}
	now, err := proc.Identify(pid)
	return err == nil && now == p
}

// findRunning inspects one process. It identifies the process before and afterwards, so
// that all it has read is about the same one.
func findRunning(pid int) (r Running, ok bool) {
	line, err := tenderLine(pid)
	if err != nil {
		return Running{}, false
	}
	if r, ok = parseLine(line); !ok {
		return Running{}, false
	}
	if r.Process, err = proc.Identify(pid); err != nil {
		return Running{}, false
	}
	output, err := os.Readlink(fmt.Sprintf("/proc/%d/fd/1", pid))
	if err == nil {
		r.Output = strings.TrimSuffix(output, " (deleted)")
	}
	again, err := tenderLine(pid)
	now, nowErr := proc.Identify(pid)
	return r, err == nil && nowErr == nil && now == r.Process && slices.Equal(line, again) && r.Runs()
}

// tenderLine returns the command line of a process. Of a launcher whose gate was opened, it
// returns the one of the tender, which the guest will have as well.
func tenderLine(pid int) ([]string, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	line := strings.Split(string(bytes.TrimSuffix(text, []byte{0})), "\x00")
	if err == nil && launches(line) && !atGate(pid) {
		line = line[slices.Index(line, "--")+1:]
	}
	return line, err
}

func launches(line []string) bool {
	return len(line) > 1 && filepath.Base(line[0]) == "albatross-tender" && line[1] == "launch"
}

// atGate reports whether a launcher has not passed its gate yet, or we may not see that.
func atGate(pid int) bool {
	gate, err := os.Readlink(fmt.Sprintf("/proc/%d/fd/%d", pid, launcher.Gate))
	return strings.HasPrefix(gate, "pipe:") || err != nil && !errors.Is(err, os.ErrNotExist)
}

// parseLine parses the command line of a tender, as Args or native albatross writes it. A
// script has its interpreter before it.
func parseLine(line []string) (r Running, ok bool) {
	for i := range min(2, len(line)) {
		if isTender(line[i]) {
			r.Program = line[i]
			args, ok := guestArgs(line[i], line[i+1:])
			return r, ok && r.parseArgs(args)
		}
	}
	return Running{}, false
}

func isTender(program string) bool {
	name := filepath.Base(program)
	return name == "albatross-tender" || strings.HasPrefix(name, "solo5-spt") || strings.HasPrefix(name, "solo5-hvt")
}

// guestArgs returns the arguments after the subcommand of our own tender. Without one it
// is a launcher at its gate: that runs nothing, and ends at the latest with its daemon.
func guestArgs(program string, args []string) ([]string, bool) {
	if filepath.Base(program) != "albatross-tender" {
		return args, true
	}
	if len(args) == 0 || args[0] != "spt" && args[0] != "hvt" {
		return nil, false
	}
	return args[1:], true
}

// parseArgs returns false if the arguments do not run a guest.
func (r *Running) parseArgs(args []string) bool {
	for i, arg := range args {
		if arg != "--" {
			r.Odd = !r.Guest.parseOption(arg) || r.Odd
			continue
		}
		if args = args[i+1:]; len(args) > 0 {
			r.Guest.Image, r.Guest.Argv = args[0], args[1:]
		}
		return len(args) > 0
	}
	return false
}

func (g *Guest) parseOption(arg string) bool {
	option, value, _ := strings.Cut(arg, "=")
	kind, name, _ := strings.Cut(option, ":")
	n, err := strconv.Atoi(value)
	switch kind {
	case "--mem":
		g.Memory = n
		return err == nil
	case "--net":
		if strings.HasPrefix(value, "@") { // its number says nothing about the descriptor
			value = ""
		}
		g.Networks = append(g.Networks, Network{Name: name, Tap: value})
		return true
	case "--net-mtu":
		i := slices.IndexFunc(g.Networks, func(n Network) bool { return n.Name == name })
		if i < 0 {
			return false
		}
		g.Networks[i].MTU = n
		return err == nil
	case "--net-mac":
		i := slices.IndexFunc(g.Networks, func(n Network) bool { return n.Name == name })
		if i < 0 {
			return false
		}
		mac, err := net.ParseMAC(value)
		copy(g.Networks[i].MAC[:], mac)
		return err == nil && len(mac) == len(messages.MAC{})
	case "--block":
		g.Blocks = append(g.Blocks, Block{Name: name, File: value})
		return true
	case "--block-sector-size":
		i := slices.IndexFunc(g.Blocks, func(b Block) bool { return b.Name == name })
		if i < 0 {
			return false
		}
		g.Blocks[i].SectorSize = messages.Some(n)
		return err == nil
	}
	return false
}

// NativeImage returns where native albatross has the image of a running unikernel.
func NativeImage(tmpdir string, name messages.Name) string {
	return filepath.Join(tmpdir, name.String()+".img")
}

// Shares returns a file that is a block device of both guests.
func (g Guest) Shares(other Guest) (file string, ok bool) {
	for _, a := range g.Blocks {
		for _, b := range other.Blocks {
			if SameFile(a.File, b.File) {
				return b.File, true
			}
		}
	}
	return "", false
}

// SameFile reports whether two paths refer to one file, or would if it existed.
func SameFile(a, b string) bool {
	one, err := stat(a)
	two, otherErr := stat(b)
	if err != nil || otherErr != nil {
		return Resolve(a) == Resolve(b)
	}
	return one.Dev == two.Dev && one.Ino == two.Ino
}

// Resolve follows the links of an absolute path, as far as it exists. The kernel reports
// files by such paths, also those whose directories are gone.
func Resolve(path string) string {
	if resolved, err := filepath.EvalSymlinks(path); err == nil {
		return resolved
	} else if path == filepath.Dir(path) {
		return path
	}
	return filepath.Join(Resolve(filepath.Dir(path)), filepath.Base(path))
}

func stat(path string) (s unix.Stat_t, err error) {
	err = unix.Stat(path, &s)
	return s, err
}
