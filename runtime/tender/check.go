package tender

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"unicode"

	"golang.org/x/sys/unix"

	"albatross/messages"
	"albatross/runtime/image"
)

// Check refuses what the tender would refuse of a guest, except for its networks, which
// do not exist yet. A tenant reads the reason.
func (t Tender) Check(i *image.Image, g Guest) error {
	if err := i.CheckMemory(uint64(g.Memory) << 20); err != nil {
		return err
	}
	if err := image.CheckArguments(g.arguments()); err != nil {
		return err
	}
	if memory := i.Usable(uint64(g.Memory) << 20); i.Target == image.HVT && !t.Builtin && memory > solo5Memory {
		return fmt.Errorf("cannot use %d MB of memory: the tender of Solo5 that is installed here can address %d (the host's operator can choose our own by --tender=builtin)",
			g.Memory, solo5Memory>>20)
	}
	if i.Target == image.HVT {
		if err := checkKVM("/dev/kvm"); err != nil {
			return err
		}
	}
	for _, d := range i.Devices {
		if !t.understands(d.Name) {
			return fmt.Errorf("cannot attach %v: Solo5's tenders, of which one is installed here, understand names of letters and digits only", d)
		}
	}
	for _, b := range g.Blocks {
		if err := t.checkBlock(b); err != nil {
			return fmt.Errorf("cannot attach block device %s: %w", b.Name, err)
		}
	}
	return nil
}

// solo5Memory is what Solo5's tender for hvt can address at most.
const solo5Memory = 4 << 30

// checkKVM refuses what cannot run without KVM, where that is missing or not for us: the
// tender has the rights of the daemon.
func checkKVM(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return noKVM(err)
	}
	return f.Close()
}

// noKVM says what to do about KVM that cannot be opened.
func noKVM(err error) error {
	if errors.Is(err, fs.ErrPermission) {
		return errors.New("cannot run a hvt image: the user of the daemon may not use KVM (allow it to open /dev/kvm, or build the unikernel for spt)")
	}
	return fmt.Errorf("cannot run a hvt image: this host has no KVM: %w (build the unikernel for spt)", messages.WithoutPath(err))
}

// understands reports whether the tender's command line can name such a device.
func (t Tender) understands(name string) bool {
	for _, c := range []byte(name) {
		if !t.Builtin && (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') {
			return false
		}
	}
	return true
}

func (t Tender) checkBlock(b Block) error {
	size := b.SectorSize.Or(image.DefaultSectorSize)
	if err := image.CheckSectorSize(size); err != nil {
		return err
	}
	if !t.Builtin && strings.ContainsFunc(b.File, unicode.IsSpace) {
		return errors.New("there is a space in the path of its file, which Solo5's tenders do not understand")
	}
	length, err := measure(b.File)
	if err != nil {
		return err
	}
	return image.CheckSectors(length, size)
}

// measure opens a file as a tender does, and returns its length. O_NONBLOCK: the open of
// a named pipe would block.
func measure(path string) (uint64, error) {
	f, err := os.OpenFile(path, os.O_RDWR|unix.O_NONBLOCK, 0)
	if err != nil {
		return 0, messages.WithoutPath(err)
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return 0, messages.WithoutPath(err)
	}
	if mode := info.Mode(); !mode.IsRegular() && mode&fs.ModeType != fs.ModeDevice {
		return 0, errors.New("neither a file nor a block device")
	}
	length, err := f.Seek(0, io.SeekEnd)
	return uint64(length), messages.WithoutPath(err)
}
