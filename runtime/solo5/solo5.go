// Package solo5 is what our two tenders have in common: what they are asked to run, the
// image of it, and its devices. Packages spt and hvt turn that into a running guest.
//
// Its errors omit the directories of files: they are printed on the console of the
// unikernel, which its owner reads. They have the words of Solo5's own tenders in them, which
// scripts look for.
package solo5

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"

	"albatross/runtime/image"
)

// Config says how to run an image.
type Config struct {
	Image     string // path
	Memory    uint64 // bytes, counted from address 0
	Arguments []string
	Networks  []Network
	Blocks    []Block
	Secret    bool // nobody but root may look into the memory of the process

	acquired *acquired // nil: what is needed is opened when it is needed
}

// OpenImage opens and checks an image. The caller closes the file.
func (c Config) OpenImage(target image.Target, version uint32) (i *image.Image, file int, err error) {
	if file, err = c.openImage(); err != nil {
		return nil, -1, err
	}
	if i, err = readImage(file, target, version); err != nil {
		_ = unix.Close(file)
		return nil, -1, err
	}
	return i, file, nil
}

func (c Config) openImage() (file int, err error) {
	if c.acquired != nil {
		return c.acquired.image, nil
	}
	// O_NONBLOCK: the open of a FIFO in place of the image would block.
	file, err = Open(c.Image, unix.O_RDONLY|unix.O_NONBLOCK)
	if err != nil {
		return -1, fmt.Errorf("cannot run image: %s: Could not open: %w", filepath.Base(c.Image), err)
	}
	return file, nil
}

func readImage(file int, target image.Target, version uint32) (*image.Image, error) {
	var s unix.Stat_t
	if err := unix.Fstat(file, &s); err != nil {
		return nil, fmt.Errorf("cannot read image: %w", err)
	}
	if s.Mode&unix.S_IFMT != unix.S_IFREG {
		return nil, errors.New("cannot read image: not a regular file")
	}
	i, err := image.Read(reader(file), s.Size)
	if err != nil {
		return nil, err
	}
	if err := i.ForHost(); err != nil {
		return nil, err
	}
	return i, i.CheckABI(target, version)
}

// reader is a descriptor as an io.ReaderAt.
type reader int

func (r reader) ReadAt(b []byte, offset int64) (int, error) {
	n, err := Retry(func() (int, error) { return unix.Pread(int(r), b, offset) })
	if err == nil && n < len(b) {
		err = errors.New("end of file")
	}
	return n, err
}

// Open opens a file with close-on-exec, so that no guest inherits it by accident.
func Open(path string, flags int) (int, error) {
	return Retry(func() (int, error) { return unix.Open(path, flags|unix.O_CLOEXEC, 0) })
}

// Retry repeats what a signal interrupted; the runtime sends itself some, and they
// interrupt some file systems.
func Retry(call func() (int, error)) (int, error) {
	for {
		n, err := call()
		if err != unix.EINTR {
			return n, err
		}
	}
}

// CheckDevices refuses devices that are not exactly those of the manifest.
func (c Config) CheckDevices(i *image.Image) error {
	var attached []image.Device
	for _, b := range c.Blocks {
		attached = append(attached, image.Device{Name: b.Name, Kind: image.Block})
	}
	for _, n := range c.Networks {
		attached = append(attached, image.Device{Name: n.Name, Kind: image.Net})
	}
	for n, d := range attached {
		switch {
		case !slices.Contains(i.Devices, d):
			return fmt.Errorf("cannot attach devices: Resource not declared in manifest: '%s'", d.Name)
		case slices.Contains(attached[:n], d):
			return fmt.Errorf("cannot attach devices: '%s' is attached twice", d.Name)
		}
	}
	for _, d := range i.Devices {
		if !slices.Contains(attached, d) {
			return fmt.Errorf("cannot attach devices: Device '%s' of type %s declared but not attached. "+
				"All declared devices must be attached. See --help for syntax", d.Name, types[d.Kind])
		}
	}
	return nil
}

// types are Solo5's names for the kinds of devices.
var types = map[image.DeviceKind]string{image.Block: "BLOCK_BASIC", image.Net: "NET_BASIC"}

// OpenDevices opens the devices of a checked manifest, in its order. It opens all or
// none; the caller closes their files.
func (c Config) OpenDevices(declared []image.Device) (devices []Device, err error) {
	for _, d := range declared {
		opened, err := c.openDevice(d)
		if err != nil {
			for _, d := range devices {
				_ = d.Close()
			}
			return nil, err
		}
		devices = append(devices, opened)
	}
	return devices, nil
}

func (c Config) openDevice(d image.Device) (Device, error) {
	if c.acquired != nil {
		return c.acquired.take(d)
	}
	for _, b := range c.Blocks {
		if d.Kind == image.Block && d.Name == b.Name {
			return openBlock(b)
		}
	}
	for _, n := range c.Networks {
		if d.Kind == image.Net && d.Name == n.Name {
			return openNetwork(n)
		}
	}
	return Device{}, notAttached(d)
}

func notAttached(d image.Device) error {
	return fmt.Errorf("internal error: device %v is not attached though all were checked", d)
}
