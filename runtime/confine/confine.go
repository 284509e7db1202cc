// Package confine takes from a tender what it has only because of who has started it: the
// user, the groups and the capabilities of root, the file system, and resources without
// bounds. A tender goes through it when it has opened its files, and before it reads
// anything that a tenant has made.
//
// The launcher finds out before its gate which layers there can be (Find), so that the daemon
// learns which are missing: where a kernel or a container does not allow one, the tender
// starts without it. The process that becomes the tender carries out the Order (Enter). What
// fails there was possible a moment ago, so that ends the tender.
package confine

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// An Order says which layers a tender gets. Limits, and the loss of all capabilities, are
// part of each.
type Order struct {
	User bool   // a user and a group of its own, and nobody but root may look into its memory
	Root string // a directory that becomes its root, and has nothing in it; empty: none
	Void int    // the first of the descriptors of a void, which takes the place of Root; 0: none
}

// Variable is the name of the environment variable by which a launcher passes an order to a
// tender that it executes.
const Variable = "ALBATROSS_CONFINE"

const (
	withUser = "user"
	withVoid = "void="
	withRoot = "root="
)

// Environment returns the order as an entry of the environment.
func (o Order) Environment() string {
	var layers []string
	if o.User {
		layers = append(layers, withUser)
	}
	if o.Void > 0 {
		layers = append(layers, withVoid+strconv.Itoa(o.Void))
	}
	if o.Root != "" {
		layers = append(layers, withRoot+o.Root) // last, since a path may have commas
	}
	return Variable + "=" + strings.Join(layers, ",")
}

// FromEnvironment returns the order that Environment has written, if there is one.
func FromEnvironment() (o Order, given bool, err error) {
	text, given := os.LookupEnv(Variable)
	if !given {
		return o, false, nil
	}
	rest := text
	if after, user := strings.CutPrefix(rest, withUser); user {
		o.User, rest = true, strings.TrimPrefix(after, ",")
	}
	if after, found := strings.CutPrefix(rest, withVoid); found {
		number, after, _ := strings.Cut(after, ",")
		o.Void, err = strconv.Atoi(number)
		rest = after
	}
	if root, found := strings.CutPrefix(rest, withRoot); found {
		o.Root, rest = root, ""
	}
	if rest != "" || err != nil {
		return Order{}, true, fmt.Errorf("cannot understand %s=%q", Variable, text)
	}
	return o, true, nil
}

// FirstUser is the user of process 0, if that ran a unikernel; see Own. These users are those
// that systemd's list of users calls unused. A pid is less than 1 << PIDBits, and nobody else has
// it as long as the process exists: two unikernels never have the same user.
const (
	FirstUser = 0x70000000
	PIDBits   = 22
)

// Own returns the user and group of a tender, or of the process of a network.
func Own(pid int) int { return FirstUser + pid }

// Find returns which of the layers of an order there can be, and why the others are missing.
// An ordinary user can have none, and misses none.
func Find(want Order) (can Order, missing []string) {
	if unix.Geteuid() != 0 {
		return Order{}, nil
	}
	can = want
	capabilities, err := Effective()
	if err == nil {
		err = checkUser(capabilities)
	}
	if want.User && err != nil {
		can.User = false
		missing = append(missing, fmt.Sprintf("tenders are not users of their own: %v", err))
	}
	if want.Void > 0 {
		err := checkVoid(capabilities)
		if err == nil {
			can.Root = "" // that of the void takes its place
			return can, missing
		}
		can.Void = 0
		missing = append(missing, NoVoid(err))
	}
	if want.Root != "" {
		if err := checkRoot(want.Root, capabilities); err != nil {
			can.Root = ""
			missing = append(missing, fmt.Sprintf("tenders keep the root directory: %v", err))
		}
	}
	return can, missing
}

// NoVoid returns what is missing of the confinement without a void.
func NoVoid(err error) string {
	return fmt.Sprintf("tenders share the mounts and the network of the machine: %v", err)
}

// checkUser returns why this process cannot become a user of its own. A daemon or keeper
// needs CAP_SYS_PTRACE to take over a process of another user; its children have what it has.
func checkUser(have Capabilities) error {
	if err := have.Require(unix.CAP_SETUID, unix.CAP_SETGID, unix.CAP_SYS_PTRACE); err != nil {
		return err
	}
	for _, file := range []string{"/proc/self/uid_map", "/proc/self/gid_map"} {
		text, err := read(file)
		if err != nil {
			return err
		}
		if !covers(text, uint64(Own(os.Getpid()))) {
			return errors.New("this user namespace has too few users")
		}
	}
	groups, err := read("/proc/self/setgroups")
	if err == nil && groups == "deny\n" {
		err = errors.New("this user namespace does not let us give up groups")
	}
	return err
}

// open opens a file without the poller of Go, which a tender must not set up: it could not use
// it when it is confined.
func open(path string, flags int) (fd int, err error) {
	for {
		if fd, err = unix.Open(path, flags|unix.O_CLOEXEC, 0); err != unix.EINTR {
			return fd, err
		}
	}
}

// read returns a small file, which the kernel gives at once.
func read(path string) (string, error) {
	fd, err := open(path, unix.O_RDONLY)
	if err != nil {
		return "", err
	}
	defer func() { _ = unix.Close(fd) }()
	text := make([]byte, 4<<10)
	n, err := unix.Read(fd, text)
	return string(text[:max(0, n)]), err
}

// covers reports whether a user or group is in a map of a user namespace: lines of the first
// number inside, the first outside, and the count.
func covers(text string, id uint64) bool {
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		if len(fields) != 3 {
			continue
		}
		first, err := strconv.ParseUint(fields[0], 10, 32)
		count, countErr := strconv.ParseUint(fields[2], 10, 32)
		if err == nil && countErr == nil && id >= first && id-first < count {
			return true
		}
	}
	return false
}

// checkRoot returns why a directory cannot become the root.
func checkRoot(dir string, have Capabilities) error {
	if err := have.Require(unix.CAP_SYS_CHROOT); err != nil {
		return err
	}
	fd, err := open(dir, unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return fmt.Errorf("%s: %w", dir, err)
	}
	defer func() { _ = unix.Close(fd) }()
	entries := make([]byte, 4<<10)
	n, err := unix.ReadDirent(fd, entries)
	if err != nil {
		return fmt.Errorf("%s: %w", dir, err)
	}
	if _, found, _ := unix.ParseDirent(entries[:n], 1, nil); found > 0 {
		return fmt.Errorf("%s is not empty", dir)
	}
	return nil
}

// Enter carries out an order, for all threads. The process has opened its files.
func (o Order) Enter() error {
	if err := DropBounding(); err != nil {
		return fmt.Errorf("cannot give up capabilities: %w", err)
	}
	return o.enter(allThreads)
}

// EnterAlone is Enter for a thread that ends all others soon by an exec, after DropBounding.
// The others keep user and capabilities until then; to change those of all takes several times
// as long as the rest.
func (o Order) EnterAlone() error { return o.enter(thisThread) }

func (o Order) enter(call caller) error {
	raiseOOMScore()
	root := unix.Geteuid() == 0
	switch {
	case o.Void > 0:
		if err := enterVoid(call, o.Void); err != nil {
			return fmt.Errorf("cannot leave the mounts and the network of the machine: %w", err)
		}
	case o.Root != "":
		if err := changeRoot(o.Root); err != nil {
			return fmt.Errorf("cannot change the root directory: %w", err)
		}
	}
	switch {
	case o.User:
		if err := becomeOwn(call); err != nil {
			return fmt.Errorf("cannot become a user of its own: %w", err)
		}
	case root:
		if err := dropCapabilities(call); err != nil {
			return fmt.Errorf("cannot give up capabilities: %w", err)
		}
	}
	if err := o.limit(); err != nil {
		return fmt.Errorf("cannot limit resources: %w", err)
	}
	return nil
}

func changeRoot(dir string) error {
	if err := unix.Chroot(dir); err != nil {
		return err
	}
	return unix.Chdir("/")
}

// becomeOwn gives up user and groups, and thereby all capabilities. The kernel makes the
// process one that leaves no core file, and that nobody but root can look into; a system may
// be configured to do otherwise.
func becomeOwn(call caller) error {
	id := uintptr(Own(os.Getpid()))
	if err := call(unix.SYS_SETGROUPS, 0, 0, 0); err != nil {
		return err
	}
	if err := call(unix.SYS_SETRESGID, id, id, id); err != nil {
		return err
	}
	if err := call(unix.SYS_SETRESUID, id, id, id); err != nil {
		return err
	}
	return unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0)
}

// Capabilities are numbers of capabilities.
type Capabilities uint64

// Effective returns the capabilities of this thread.
func Effective() (Capabilities, error) {
	var sets [2]unix.CapUserData
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	if err := unix.Capget(&header, &sets[0]); err != nil {
		return 0, fmt.Errorf("cannot find out which capabilities there are: %w", err)
	}
	return Capabilities(uint64(sets[0].Effective) | uint64(sets[1].Effective)<<32), nil
}

var names = map[int]string{
	unix.CAP_KILL: "CAP_KILL", unix.CAP_SETGID: "CAP_SETGID", unix.CAP_SETUID: "CAP_SETUID",
	unix.CAP_SETPCAP: "CAP_SETPCAP", unix.CAP_SYS_ADMIN: "CAP_SYS_ADMIN", unix.CAP_SYS_CHROOT: "CAP_SYS_CHROOT", unix.CAP_SYS_PTRACE: "CAP_SYS_PTRACE",
}

// Require returns an error that names those which are missing.
func (c Capabilities) Require(list ...int) error {
	missing := slices.DeleteFunc(list, func(n int) bool { return c&(1<<n) != 0 })
	if len(missing) == 0 {
		return nil
	}
	var texts []string
	for _, n := range missing {
		texts = append(texts, names[n])
	}
	return fmt.Errorf("%s is missing", strings.Join(texts, ", "))
}
