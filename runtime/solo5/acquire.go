package solo5

import (
	"golang.org/x/sys/unix"

	"albatross/runtime/image"
)

// acquired is what was opened before the image is read.
type acquired struct {
	image   int
	devices []Device
}

// Acquire opens the image and all devices now, so that the process can give up what it needs
// for that before it reads the image, which may be hostile. OpenImage and OpenDevices then
// return what is open. If it fails, the caller ends the process.
func (c *Config) Acquire() error {
	file, err := c.openImage()
	if err != nil {
		return err
	}
	a := &acquired{image: file}
	for _, b := range c.Blocks {
		d, err := openBlock(b)
		if err != nil {
			return err
		}
		a.devices = append(a.devices, d)
	}
	for _, n := range c.Networks {
		d, err := openNetwork(n)
		if err != nil {
			return err
		}
		a.devices = append(a.devices, d)
	}
	c.acquired = a
	return nil
}

// Largest returns the size of the largest acquired block device that is a file, in bytes.
func (c *Config) Largest() (size uint64) {
	for _, d := range c.acquired.devices {
		var s unix.Stat_t
		if d.Kind == image.Block && unix.Fstat(d.File, &s) == nil && s.Mode&unix.S_IFMT == unix.S_IFREG {
			size = max(size, uint64(s.Size))
		}
	}
	return size
}

// take returns the device of an entry of the manifest.
func (a *acquired) take(entry image.Device) (Device, error) {
	for _, d := range a.devices {
		if d.Kind == entry.Kind && d.Name == entry.Name {
			return d, nil
		}
	}
	return Device{}, notAttached(entry)
}
