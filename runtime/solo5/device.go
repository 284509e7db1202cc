package solo5

import (
	"errors"
	"fmt"
	"path/filepath"
	"unsafe"

	"golang.org/x/sys/unix"

	"albatross/runtime/image"
)

// MAC is a hardware address.
type MAC [6]byte

// Network attaches a tap interface as a network of the manifest, or a socket that whoever
// starts the unikernel has passed on, of which each message is a frame.
type Network struct {
	Name       string
	Interface  string
	Descriptor int // of the socket; 0: there is an interface
	// Peer is the other end of the socket, which the guest keeps open and may not use: as long
	// as it runs, it never finds the end of the socket, which it would poll for ever. 0: none.
	Peer int
	MAC  MAC    // zero: a random one
	MTU  uint16 // of a socket; 0: DefaultMTU
}

// Block attaches a file or block device as a block device of the manifest.
type Block struct {
	Name       string
	Path       string
	SectorSize uint16 // zero: 512
}

// Device is an opened device of the manifest.
type Device struct {
	Name string
	Kind image.DeviceKind
	File int // a descriptor of this process

	Capacity   uint64 // of a block device, in bytes: a multiple of SectorSize, and not 0
	SectorSize uint16

	MAC  MAC // of a network
	MTU  uint16
	Peer int // a descriptor of this process, the other end of File; 0: there is none
}

// openBlock opens a block device and checks that it consists of whole sectors, which the
// tenders rely on.
func openBlock(b Block) (Device, error) {
	d := Device{Name: b.Name, Kind: image.Block, SectorSize: b.SectorSize}
	if d.SectorSize == 0 {
		d.SectorSize = image.DefaultSectorSize
	}
	err := image.CheckSectorSize(int(d.SectorSize))
	if err != nil {
		return Device{}, fmt.Errorf("cannot attach block device %s: %w", b.Name, err)
	}
	if d.File, err = Open(b.Path, unix.O_RDWR); err != nil {
		return Device{}, fmt.Errorf("cannot attach block device %s: Could not open block device: %s: %w", b.Name, filepath.Base(b.Path), err)
	}
	if err := d.measure(); err != nil {
		_ = unix.Close(d.File)
		return Device{}, fmt.Errorf("cannot attach block device %s: %s: %w", b.Name, filepath.Base(b.Path), err)
	}
	return d, nil
}

// measure sets the capacity of a block device.
func (d *Device) measure() error {
	var s unix.Stat_t
	if err := unix.Fstat(d.File, &s); err != nil {
		return err
	}
	if kind := s.Mode & unix.S_IFMT; kind != unix.S_IFREG && kind != unix.S_IFBLK {
		return errors.New("neither a file nor a block device")
	}
	size, err := unix.Seek(d.File, 0, unix.SEEK_END)
	if err != nil {
		return err
	}
	d.Capacity = uint64(size)
	return image.CheckSectors(d.Capacity, int(d.SectorSize))
}

// openNetwork attaches to an existing tap interface: who starts a unikernel need not be
// allowed to create one.
func openNetwork(n Network) (Device, error) {
	if n.Descriptor != 0 {
		return openSocket(n)
	}
	d := Device{Name: n.Name, Kind: image.Net, MAC: n.MAC}
	if err := d.attach(n.Interface); err != nil {
		return Device{}, fmt.Errorf("cannot attach network %s: Could not attach interface: %s: %w", n.Name, n.Interface, err)
	}
	return d, nil
}

func (d *Device) attach(name string) (err error) {
	if err := d.setMAC(); err != nil {
		return err
	}
	if d.MTU, err = prepareInterface(name); err != nil {
		return err
	}
	d.File, err = openTap(name)
	return err
}

// setMAC chooses an address if there is none.
func (d *Device) setMAC() (err error) {
	if d.MAC == (MAC{}) {
		d.MAC, err = randomMAC()
	}
	return err
}

// randomMAC returns a random address from the range for local use. It asks the kernel:
// the initialisation of crypto/rand would take a tenth of a start.
func randomMAC() (MAC, error) {
	var m MAC
	if _, err := unix.Getrandom(m[:], 0); err != nil {
		return m, err
	}
	m[0] = m[0]&^1 | 2
	return m, nil
}

// prepareInterface checks that an interface exists and is up, and returns its MTU.
// Without the check the kernel would create the interface.
func prepareInterface(name string) (mtu uint16, err error) {
	socket, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, err
	}
	defer func() { _ = unix.Close(socket) }()
	request, err := unix.NewIfreq(name)
	if err != nil {
		return 0, err
	}
	if err := unix.IoctlIfreq(socket, unix.SIOCGIFFLAGS, request); err != nil {
		return 0, err
	}
	if request.Uint16()&unix.IFF_UP == 0 {
		return 0, unix.ENETDOWN
	}
	if err := unix.IoctlIfreq(socket, unix.SIOCGIFMTU, request); err != nil {
		return 0, err
	}
	disableOffloads(socket, name)
	return uint16(request.Uint32()), nil
}

// disableOffloads asks the kernel not to join received packets to some of up to 64 KB, of
// which a guest would see only the beginning. An ordinary user may not ask; then whoever
// made the interface must.
func disableOffloads(socket int, name string) {
	const setGRO, setGSO = 0x2c, 0x24 // ETHTOOL_SGRO, ETHTOOL_SGSO
	for _, command := range []uint32{setGRO, setGSO} {
		value := [2]uint32{command, 0}
		var request struct { // struct ifreq with a pointer in it
			name [unix.IFNAMSIZ]byte
			data unsafe.Pointer
			_    [16]byte
		}
		copy(request.name[:unix.IFNAMSIZ-1], name)
		request.data = unsafe.Pointer(&value)
		_, _, _ = unix.Syscall(unix.SYS_IOCTL, uintptr(socket), unix.SIOCETHTOOL,
			uintptr(unsafe.Pointer(&request)))
	}
}

func openTap(name string) (int, error) {
	fd, err := Open("/dev/net/tun", unix.O_RDWR|unix.O_NONBLOCK)
	if err != nil {
		return -1, err
	}
	if err := attachTap(fd, name); err != nil {
		_ = unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// attachTap makes fd the other end of the interface. The kernel takes a percent sign in
// the name for a request to choose one.
func attachTap(fd int, name string) error {
	request, err := unix.NewIfreq(name)
	if err != nil {
		return err
	}
	request.SetUint16(unix.IFF_TAP | unix.IFF_NO_PI)
	if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, request); err != nil {
		return err
	}
	if request.Name() != name {
		return fmt.Errorf("the kernel attached %s instead", request.Name())
	}
	return nil
}
