package image_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"albatross/runtime/image"
	"albatross/test/guests"
)

func read(b []byte) (*image.Image, error) {
	return image.Read(bytes.NewReader(b), int64(len(b)))
}

func TestReadGuests(t *testing.T) {
	for _, a := range guests.Architectures {
		for _, name := range guests.Names() {
			for _, target := range guests.Targets() {
				file := guests.ImageFor(a.Name, name, target)
				i, err := read(file)
				require.NoError(t, err, "%s.%s on %s", name, target, a.Name)
				assert.Equal(t, target, i.Target.String())
				assert.EqualValues(t, a.Name, i.Architecture)
				assert.EqualValues(t, 2, i.ABIVersion)
				assert.NoError(t, i.CheckTarget())
				assert.NoError(t, i.CheckABI(i.Target, 2))
				requireSane(t, i, int64(len(file)))
			}
		}
	}
}

// TestForHost: an image for another processor is refused with the names of both.
func TestForHost(t *testing.T) {
	for _, a := range guests.Architectures {
		i, err := read(guests.ImageFor(a.Name, "hello", "spt"))
		require.NoError(t, err)
		if a.Name == runtime.GOARCH {
			require.NoError(t, i.ForHost())
		} else {
			require.EqualError(t, i.ForHost(), "cannot run image: it is for "+a.Name+", and this host is "+runtime.GOARCH)
		}
	}
}

func TestReadLayout(t *testing.T) {
	i, err := read(guests.Image("fault", "spt"))
	require.NoError(t, err)
	require.Len(t, i.Segments, 2)
	text, data := i.Segments[0], i.Segments[1]
	assert.EqualValues(t, 0x100000, text.Address)
	assert.Equal(t, image.Readable|image.Executable, text.Protection)
	assert.Equal(t, image.Readable|image.Writable, data.Protection)
	assert.Equal(t, data.EndPage(), i.End)
}

func TestReadDevices(t *testing.T) {
	i, err := read(guests.Image("several", "hvt"))
	require.NoError(t, err)
	assert.Equal(t, []image.Device{
		{Name: "storage", Kind: image.Block},
		{Name: "service", Kind: image.Net},
		{Name: "management", Kind: image.Net},
	}, i.Devices)
}

// A damaged image: what is done to the guest "several" for hvt, and what Read
// must say. The program headers of the guests are, in order: interpreter,
// text, data, ABI note, manifest note, stack.
const (
	interp = iota
	text
	data
	abi
	manifest
	stack
)

// program is where a field of a program header is in the file.
func program(header, field int) int { return 64 + 56*header + field }

// The fields of a program header.
const (
	kind, flags, offset, address = 0, 4, 8, 16
	fileSize, memorySize, align  = 32, 40, 48
)

type damage func(b []byte) []byte

func set16(at int, v uint16) damage {
	return func(b []byte) []byte { binary.LittleEndian.PutUint16(b[at:], v); return b }
}

func set32(at int, v uint32) damage {
	return func(b []byte) []byte { binary.LittleEndian.PutUint32(b[at:], v); return b }
}

func set64(at int, v uint64) damage {
	return func(b []byte) []byte { binary.LittleEndian.PutUint64(b[at:], v); return b }
}

func cut(n int) damage { return func(b []byte) []byte { return b[:n] } }

func grow(n int) damage { return func(b []byte) []byte { return append(b, make([]byte, n)...) } }

// note changes a note: at counts from the beginning of its contents.
func note(header, start, at int, v ...byte) damage {
	return func(b []byte) []byte {
		begin := int(binary.LittleEndian.Uint64(b[program(header, offset):]))
		copy(b[begin+start+at:], v)
		return b
	}
}

func entry(n, at int, v ...byte) damage { return note(manifest, 24, 8+104*n+at, v...) }

func all(damages ...damage) damage {
	return func(b []byte) []byte {
		for _, d := range damages {
			b = d(b)
		}
		return b
	}
}

var damaged = []struct {
	name string
	do   damage
	want string
}{
	{"empty", cut(0), "truncated: shorter than an ELF header"},
	{"half a header", cut(63), "truncated: shorter than an ELF header"},
	{"headers only", cut(64 + 100), "truncated: program header table"},
	{"no contents", cut(64 + 6*56), "truncated: name of interpreter"},
	{"script", set32(0, 0x2f212f23), "not an ELF file"},
	{"32 bits", note(interp, -0x1000, 4, 1), "not a 64-bit little-endian ELF file"},
	{"big-endian", note(interp, -0x1000, 5, 2), "not a 64-bit little-endian ELF file"},
	{"ELF version", set32(20, 2), "unknown ELF version"},
	{"shared object", set16(16, 3), "not a static executable"},
	{"32-bit ARM", set16(18, 40), "for ELF machine 40, which is neither x86-64 (amd64) nor arm64"},
	{"header size", set16(52, 65), "unexpected size of ELF headers"},
	{"no program headers", set16(56, 0), "0 program headers"},
	{"too many program headers", set16(56, 65), "65 program headers"},
	{"program headers far away", set64(32, 1<<63), "truncated: program header table"},
	{"program headers wrap", set64(32, 1<<64-56), "truncated: program header table"},

	{"dynamic", set32(program(stack, kind), 2), "dynamically linked"},
	{"no interpreter", set32(program(interp, kind), 0), "0 interpreters"},
	{"two interpreters", set32(program(stack, kind), 3), "2 interpreters"},
	{"other interpreter", note(interp, 0, 1, 'N'), "interpreter is not /nonexistent/solo5/"},
	{"unterminated interpreter", set64(program(interp, fileSize), 19), "interpreter is not"},
	{"huge interpreter", set64(program(interp, fileSize), 1<<62), "interpreter is too long"},

	{"no ABI note", set32(program(abi, kind), 0), "no ABI note"},
	{"two ABI notes", all(set32(program(stack, kind), 4),
		func(b []byte) []byte { copy(b[program(stack, 0):program(stack, 56)], b[program(abi, 0):]); return b }),
		"more than one ABI note"},
	{"ABI note of another owner", note(abi, 0, 12, 'X'), "no ABI note"},
	{"ABI note too short for a header", set64(program(abi, fileSize), 19), "no ABI note"},
	{"short ABI note", note(abi, 0, 4, 15), "ABI note has 15 bytes"},
	{"long ABI note", note(abi, 0, 4, 17), "ABI note does not fall within valid size"},
	{"ABI note far away", set64(program(abi, offset), 1<<63), "truncated: note"},

	{"no manifest", set32(program(manifest, kind), 0), "no manifest note"},
	{"endless manifest", note(manifest, 0, 4, 255, 255, 255, 255), "manifest note does not fall within valid size"},
	{"huge manifest", all(grow(1<<20), set64(program(manifest, fileSize), 1<<19), note(manifest, 0, 4, 0, 0, 4)),
		"manifest note does not fall within valid size"},
	{"empty manifest", note(manifest, 0, 4, 4, 0), "manifest note does not fall within valid size"},
	{"manifest too short", note(manifest, 0, 4, 8, 0), "manifest is too short"},
	{"manifest version", note(manifest, 24, 0, 2), "unknown manifest version 2"},
	{"no entries", note(manifest, 24, 4, 0), "manifest has 0 entries"},
	{"too many entries", note(manifest, 24, 4, 65), "manifest has 65 entries"},
	{"other count", note(manifest, 24, 4, 3), "manifest of 3 entries has 424 bytes"},
	{"first entry is a device", entry(0, 68, 1, 0, 0, 0), "not the reserved one"},
	{"first entry has a name", entry(0, 0, 'x'), "not the reserved one"},
	{"reserved entry again", entry(2, 68, 0, 0, 0, 0x40), "entry 2: unknown kind of device 1073741824"},
	{"unknown device", entry(1, 68, 3), "entry 1: unknown kind of device 3"},
	{"unterminated name", entry(1, 0, bytes.Repeat([]byte{'a'}, 68)...), "entry 1: name is not terminated"},
	{"empty name", entry(1, 0, 0), `entry 1: name "" is empty or not printable`},
	{"escape in name", entry(1, 0, 27), "is empty or not printable"},
	{"blank in name", entry(1, 0, ' '), "is empty or not printable"},
	{"same name twice", entry(3, 0, []byte("service\x00")...), `entry 3: net "service" is declared twice`},
	{"attached", entry(1, 96, 1), "entry 1: device is marked as attached"},

	{"contents outside", set64(program(text, offset), 1<<40), "segment 0: truncated: its contents"},
	{"contents wrap", set64(program(text, offset), 1<<64-1), "segment 0: truncated: its contents"},
	{"larger in the file", set64(program(text, memorySize), 1), "is larger in the file than in memory"},
	{"writable text", set32(program(text, flags), 7), "segment 0: is writable and executable"},
	{"executable data", set32(program(data, flags), 7), "segment 1: is writable and executable"},
	{"odd alignment", set64(program(text, align), 3), "alignment 3 is not a power of two"},
	{"below the base", set64(program(text, address), 0xff000), "0x100000 and 0x100000000"},
	{"at zero", set64(program(text, address), 0), "are not within"},
	{"above the limit", set64(program(data, address), 1<<32), "segment 1: 4096 bytes at 0x100000000"},
	{"memory wraps", set64(program(data, memorySize), 1<<64-1), "segment 1: 18446744073709551615 bytes"},
	{"data on text", set64(program(data, address), 0x100000), "segment 1: 0x100000 is in or below"},
	{"entry at zero", set64(24, 0), "entry point 0x0"},
	{"entry in data", set64(24, 0x101000), "entry point 0x101000"},
	{"nothing executable", set32(program(text, flags), 4), "is not in executable memory"},
	{"nothing to load", all(set32(program(text, kind), 0), set32(program(data, kind), 0)), "entry point"},
}

func TestReadDamaged(t *testing.T) {
	for _, c := range damaged {
		t.Run(c.name, func(t *testing.T) {
			_, err := read(c.do(bytes.Clone(guests.Image("several", "hvt"))))
			require.ErrorContains(t, err, c.want)
			require.True(t, strings.HasPrefix(err.Error(), "cannot read image: "), err.Error())
		})
	}
}

func TestOverlap(t *testing.T) {
	// The guest "fault" has data in the file, so its second segment is one that
	// is loaded; it may not share the last page of the first.
	b := set64(program(data, address), 0x100fff)(bytes.Clone(guests.Image("fault", "hvt")))
	_, err := read(b)
	require.ErrorContains(t, err, "segment 1: 0x100fff is in or below the segment before it")
}

func TestZeroedMemoryMaySharePage(t *testing.T) {
	b := all(set64(program(data, address), 0x100ff8), set64(program(data, memorySize), 0x2000))(
		bytes.Clone(guests.Image("hello", "hvt")))
	i, err := read(b)
	require.NoError(t, err)
	require.Len(t, i.Segments, 1)
	require.EqualValues(t, 0x103000, i.End)
}

func TestOtherTargets(t *testing.T) {
	b := note(abi, 20, 0, byte(image.Virtio))(bytes.Clone(guests.Image("hello", "hvt")))
	i, err := read(b)
	require.NoError(t, err)
	require.EqualError(t, i.CheckTarget(), "unsupported solo5 target virtio")
	require.Equal(t, "17", image.Target(17).String())
}

func TestCheckABI(t *testing.T) {
	i, err := read(note(abi, 20, 4, 1)(bytes.Clone(guests.Image("hello", "hvt"))))
	require.NoError(t, err)
	require.EqualError(t, i.CheckABI(image.HVT, 2), "cannot run image: Executable requests unsupported ABI version 1, not 2")
	require.EqualError(t, i.CheckABI(image.SPT, 2), "cannot run image: Executable is not for the solo5-spt target, but for hvt")
}

// The texts are those that native clients show.
func TestMatchDevices(t *testing.T) {
	const (
		block = "specified block device(s) does not match with manifest. Devices present in manifest: "
		net   = "specified bridge(s) does not match with the manifest. Devices present in manifest: "
		three = `block "storage", net "service", net "management"`
	)
	for _, c := range []struct {
		guest        string
		blocks, nets []string
		want         string
	}{
		{"hello", nil, nil, ""},
		{"hello", []string{"storage"}, nil, block + "none"},
		{"hello", nil, []string{"service"}, net + "none"},
		{"several", nil, nil, block + three},
		{"several", []string{"storage"}, nil, net + three},
		{"several", []string{"storage"}, []string{"management", "service"}, ""},
		{"several", []string{"storage"}, []string{"service", "service"}, net + three},
		{"several", []string{"storage", "storage"}, []string{"service", "management"}, block + three},
		{"disk", []string{"storage"}, nil, ""},
		{"disk", []string{"other"}, nil, block + `block "storage"`},
		{"net", nil, []string{"other"}, net + `net "service"`},
	} {
		i, err := read(guests.Image(c.guest, "spt"))
		require.NoError(t, err)
		if err := i.MatchDevices(c.blocks, c.nets); c.want == "" {
			require.NoError(t, err)
		} else {
			require.EqualError(t, err, c.want)
		}
	}
}

// failing is a file whose disk is broken.
type failing struct{}

func (failing) ReadAt([]byte, int64) (int, error) { return 0, errors.New("input/output error") }

func TestReadError(t *testing.T) {
	_, err := image.Read(failing{}, 1000)
	require.EqualError(t, err, "cannot read image: ELF header: input/output error")
	_, err = image.Read(failing{}, -1)
	require.ErrorContains(t, err, "truncated")
}

// requireSane checks what a user of an Image relies on without a check of its
// own.
func requireSane(t require.TestingT, i *image.Image, size int64) {
	require.LessOrEqual(t, len(i.Devices), 63)
	if i.CheckTarget() != nil { // what it needs is not known, nor asked for
		require.Empty(t, i.Segments)
		require.Zero(t, i.End)
		return
	}
	end, entryFound := uint64(0x100000), false
	for _, s := range i.Segments {
		require.GreaterOrEqual(t, s.FirstPage(), end)
		require.LessOrEqual(t, s.FileSize, s.MemorySize)
		require.LessOrEqual(t, s.Offset+s.FileSize, uint64(size))
		require.NotEqual(t, image.Writable|image.Executable, s.Protection&(image.Writable|image.Executable))
		end = s.EndPage()
		entryFound = entryFound || (s.Protection&image.Executable != 0 && s.Address <= i.Entry && i.Entry < end)
	}
	require.LessOrEqual(t, end, i.End)
	require.LessOrEqual(t, i.End, uint64(1<<40+4096))
	require.True(t, entryFound)
}

// counting adds up what is read from a file: Read allocates no more than that
// and a fixed amount per header.
type counting struct {
	r     io.ReaderAt
	bytes int
}

func (c *counting) ReadAt(p []byte, at int64) (int, error) {
	c.bytes += len(p)
	return c.r.ReadAt(p, at)
}

// maxRead is the bound that the package promises.
const maxRead = 32 << 10

func FuzzRead(f *testing.F) {
	for _, name := range guests.Names() {
		for _, target := range guests.Targets() {
			f.Add(guests.Image(name, target))
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		c := &counting{r: bytes.NewReader(b)}
		i, err := image.Read(c, int64(len(b)))
		require.LessOrEqual(t, c.bytes, maxRead)
		if err == nil {
			requireSane(t, i, int64(len(b)))
		}
	})
}

// Damage that knows where the fields are gets further than random bytes do.
func TestReadAnyDamage(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := bytes.Clone(guests.Image("several", rapid.SampledFrom(guests.Targets()).Draw(t, "target")))
		for range rapid.IntRange(1, 4).Draw(t, "damages") {
			header := rapid.IntRange(interp, stack).Draw(t, "header")
			field := rapid.SampledFrom([]int{offset, address, fileSize, memorySize, align}).Draw(t, "field")
			value := rapid.OneOf(rapid.Uint64(), rapid.Uint64Range(0xff000, 0x103000), rapid.Uint64Range(0, 0x3000))
			b = set64(program(header, field), value.Draw(t, "value"))(b)
		}
		c := &counting{r: bytes.NewReader(b)}
		i, err := image.Read(c, int64(len(b)))
		require.LessOrEqual(t, c.bytes, maxRead)
		if err == nil {
			requireSane(t, i, int64(len(b)))
		}
	})
}
