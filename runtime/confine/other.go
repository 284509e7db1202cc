package confine

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"albatross/runtime/landlock"
)

// A tender that is not ours opens its files by itself, and some of them belong to root alone.
// So it stays the user that it is, and loses what is left: all groups and capabilities, and by
// Landlock everything of the file system but its program and what it was given.

// needed are the files that a tender with this command line opens.
type needed struct {
	program, image string
	blocks         []string
}

// parseNeeds takes a command line as Solo5's tenders understand it.
func parseNeeds(argv []string) (n needed) {
	n.program = argv[0]
	for i, arg := range argv[1:] {
		if arg == "--" {
			n.image = slices.Concat(argv[i+2:], []string{""})[0]
			break
		}
		if device, path, _ := strings.Cut(arg, "="); strings.HasPrefix(device, "--block:") {
			n.blocks = append(n.blocks, path)
		}
	}
	return n
}

// MissingOther returns why a tender that is not ours keeps capabilities.
func MissingOther(argv []string) (missing []string) {
	have, err := Effective()
	if unix.Geteuid() != 0 || err != nil {
		return nil
	}
	if err := have.Require(unix.CAP_SETPCAP); err != nil {
		missing = append(missing, fmt.Sprintf("%s keeps its capabilities: %v", argv[0], err))
	}
	if err := parseNeeds(argv).tryWithout(); err != nil {
		missing = append(missing, fmt.Sprintf("%s keeps CAP_DAC_OVERRIDE, without which root may not open its files: %v", argv[0], err))
	}
	return missing
}

// Other confines this thread, and a tender that is not ours which it is about to execute.
func Other(argv []string) error {
	raiseOOMScore()
	n := parseNeeds(argv)
	if unix.Geteuid() == 0 {
		var keep []uintptr
		if n.tryWithout() != nil {
			keep = []uintptr{unix.CAP_DAC_OVERRIDE}
		}
		if err := DropBounding(keep...); err != nil {
			return fmt.Errorf("cannot give up capabilities: %w", err)
		}
		if err := unix.Setgroups(nil); err != nil && !errors.Is(err, unix.EPERM) {
			return fmt.Errorf("cannot give up groups: %w", err)
		}
	}
	if err := (Order{}).limit(); err != nil {
		return fmt.Errorf("cannot limit resources: %w", err)
	}
	if err := LimitFiles(n.largest()); err != nil {
		return err
	}
	return landlock.RestrictThread(landlock.Network|landlock.Others, n.paths()...)
}

// tryWithout returns why a root without capabilities cannot open the files; nil: it can.
func (n needed) tryWithout() error {
	var have, none [2]unix.CapUserData
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	if err := unix.Capget(&header, &have[0]); err != nil {
		return err
	}
	none = have
	none[0].Effective, none[1].Effective = 0, 0
	if err := unix.Capset(&header, &none[0]); err != nil {
		return err
	}
	return errors.Join(n.tryOpen(), unix.Capset(&header, &have[0]))
}

// tryOpen returns which file this thread is not permitted to open.
func (n needed) tryOpen() error {
	err := refused(n.image, unix.O_RDONLY)
	for _, path := range n.blocks {
		err = errors.Join(err, refused(path, unix.O_RDWR))
	}
	return err
}

func refused(path string, flags int) error {
	fd, err := open(path, flags|unix.O_NONBLOCK)
	if err == nil {
		_ = unix.Close(fd)
	}
	if err == unix.EACCES {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil // the tender says what else is wrong
}

// filterFile is more than a filter has that Solo5's tenders write to a file in memory.
const filterFile = 1 << 20

// largest returns the size of the largest block device that is a file, or what else they write.
func (n needed) largest() (size uint64) {
	size = filterFile
	for _, path := range n.blocks {
		var s unix.Stat_t
		if unix.Stat(path, &s) == nil && s.Mode&unix.S_IFMT == unix.S_IFREG {
			size = max(size, uint64(s.Size))
		}
	}
	return size
}

// Where programs and libraries are, and the devices of every tender.
var (
	programs = []string{"/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/opt", "/nix/store", "/gnu/store"}
	devices  = []string{"/dev/kvm", "/dev/net/tun", "/dev/null", "/dev/zero", "/dev/random", "/dev/urandom"}
)

// paths are what the tender may use of the file system.
func (n needed) paths() []landlock.Rule {
	rules := []landlock.Rule{
		{Path: n.program, Allow: landlock.Execute},
		{Path: n.image, Allow: landlock.Read},
		{Path: "/etc/ld.so.cache", Allow: landlock.Read},
	}
	for _, dir := range programs {
		rules = append(rules, landlock.Rule{Path: dir, Allow: landlock.Execute | landlock.List})
	}
	for _, path := range slices.Concat(devices, n.blocks) {
		rules = append(rules, landlock.Rule{Path: path, Allow: landlock.Device})
	}
	return rules
}
