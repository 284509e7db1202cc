package confine

import (
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// A Void is a mount and a network namespace with nothing in them: an empty directory that nobody
// can write to, and a loopback interface that is down. All tenders of a daemon enter the same
// one, which takes next to no time. One of its own would delay each start by about as long as all
// that a tender for spt does, and stop no more: who has no capability can change nothing there,
// and the tenders' filters forbid sockets. It vanishes with the last process that has it open or
// is in it.
type Void struct{ mounts, network *os.File }

// inVoid is how many descriptors a void has.
const inVoid = 2

// checkVoid returns why this process cannot enter a void.
func checkVoid(have Capabilities) error {
	if err := have.Require(unix.CAP_SYS_ADMIN, unix.CAP_SYS_CHROOT); err != nil {
		return err
	}
	// Who has started it may have a filter of system calls. That answers before the kernel finds
	// that there is no such descriptor.
	if err := unix.Setns(-1, unix.CLONE_NEWNS); err != unix.EBADF {
		return fmt.Errorf("cannot enter a namespace: %w", err)
	}
	return nil
}

// NewVoid makes a void. The directory is one that exists and has nothing in it; it stays as it
// is. The caller closes the void when it starts no more tenders.
func NewVoid(dir string) (*Void, error) {
	have, err := Effective()
	if err == nil {
		err = checkVoid(have)
	}
	if err != nil {
		return nil, err
	}
	v := new(Void)
	onThreadOfItsOwn(func() { err = v.make(dir) })
	if err != nil {
		v.Close()
		return nil, err
	}
	return v, nil
}

// Files returns the descriptors by which a process enters the void, in the order in which Order
// expects them. They stay the void's.
func (v *Void) Files() []*os.File { return []*os.File{v.mounts, v.network} }

// Close gives up the void, if there is one. Who is in it stays there.
func (v *Void) Close() {
	if v == nil {
		return
	}
	for _, f := range v.Files() {
		if f != nil {
			_ = f.Close()
		}
	}
}

// onThreadOfItsOwn calls a function on a thread that ends with it, whatever the function has done
// to that. It is never the first thread: that does not end, and /proc shows its namespaces as
// those of the process.
func onThreadOfItsOwn(f func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // for good, so that the thread ends
		if unix.Gettid() != os.Getpid() {
			f()
			return
		}
		onThreadOfItsOwn(f) // on another one, since this is in use
		runtime.UnlockOSThread()
	}()
	<-done
}

// make moves this thread into the void, and opens its namespaces.
func (v *Void) make(dir string) (err error) {
	if err := unix.Unshare(unix.CLONE_FS | unix.CLONE_NEWNS | unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("cannot make namespaces: %w", err)
	}
	if v.mounts, err = openNamespace("mnt"); err != nil {
		return err
	}
	if v.network, err = openNamespace("net"); err != nil {
		return err
	}
	if err := leaveMounts(dir); err != nil {
		return fmt.Errorf("cannot leave the mounts of the machine: %w", err)
	}
	return nil
}

// openNamespace opens a namespace of this thread.
func openNamespace(kind string) (*os.File, error) {
	path := "/proc/thread-self/ns/" + kind
	fd, err := open(path, unix.O_RDONLY)
	if err != nil {
		return nil, fmt.Errorf("cannot open %s: %w", path, err)
	}
	return os.NewFile(uintptr(fd), kind), nil
}

// leaveMounts replaces all mounts of this mount namespace, which has copies of those of the
// machine, by one empty file system.
func leaveMounts(dir string) error {
	// First of all: otherwise the machine would lose its mounts, too.
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return err
	}
	const flags = unix.MS_RDONLY | unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC
	if err := unix.Mount("albatross", dir, "tmpfs", flags, "nr_inodes=1,mode=0555"); err != nil {
		return err
	}
	if err := unix.Chdir(dir); err != nil {
		return err
	}
	if err := unix.PivotRoot(".", "."); err != nil { // the old root is above the new one then
		return err
	}
	return unix.Unmount(".", unix.MNT_DETACH)
}

// enterVoid moves a process into a void, by its descriptors from the first on, and closes them.
func enterVoid(call caller, first int) error {
	// Only a thread whose root directory is its own can change its mount namespace.
	if err := call(unix.SYS_UNSHARE, unix.CLONE_FS, 0, 0); err != nil {
		return err
	}
	for i, kind := range [inVoid]uintptr{unix.CLONE_NEWNS, unix.CLONE_NEWNET} {
		if err := call(unix.SYS_SETNS, uintptr(first+i), kind, 0); err != nil {
			return err
		}
	}
	return unix.CloseRange(uint(first), uint(first+inVoid-1), 0)
}

// PassVoid keeps the descriptors of a void open in the program that this one executes, from the
// first on; 0: there is none.
func PassVoid(first int) error {
	if first == 0 {
		return nil
	}
	for i := range inVoid {
		if _, err := unix.FcntlInt(uintptr(first+i), unix.F_SETFD, 0); err != nil {
			return fmt.Errorf("cannot pass a void on: %w", err)
		}
	}
	return nil
}
