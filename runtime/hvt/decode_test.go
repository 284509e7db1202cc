package hvt

import (
	"encoding/binary"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"

	"albatross/runtime/image"
	"albatross/runtime/solo5"
)

// The world of these tests: 2 MB of memory with two pages of code, and a device of each
// kind.
const (
	testSize = 2 << 20
	testCode = 0x101000
	argument = 0x140000 // where arguments are
	contents = 0x150000
)

func testMemory() *memory {
	return &memory{
		bytes: make([]byte, testSize),
		fixed: []span{{0, imageBase}, {testCode, testCode + 2*image.PageSize}},
	}
}

var testDevices = []solo5.Device{
	{Name: "storage", Kind: image.Block, File: 70, Capacity: 8192, SectorSize: 512},
	{Name: "service", Kind: image.Net, File: 71},
}

// hypercall is what a guest puts out for one.
func hypercall(c call, argument uint32) output {
	return output{place: portBase + portStep*uint64(c), value: argument}
}

// ask puts the fields of an argument into memory, 64 bits each, and decodes the hypercall.
func ask(m *memory, c call, fields ...uint64) (request, error) {
	for i, f := range fields {
		binary.LittleEndian.PutUint64(m.bytes[argument+8*i:], f)
	}
	return decode(m, testDevices, hypercall(c, argument))
}

// at returns where a part of memory is, and whether it is.
func (m *memory) address(b []byte) (uint64, bool) {
	offset := uintptr(unsafe.Pointer(unsafe.SliceData(b))) - uintptr(unsafe.Pointer(&m.bytes[0]))
	return uint64(offset), uint64(offset)+uint64(len(b)) <= m.size()
}

const far = 0xfffffff000

// minus is a number that makes an addition wrap around.
func minus(n uint64) uint64 { return -n }

func TestDecode(t *testing.T) {
	for what, tc := range map[string]struct {
		call    call
		fields  []uint64
		refused bool
		err     string // of it
	}{
		"walltime":                    {call: callWalltime},
		"puts":                        {callPuts, []uint64{contents, 100}, false, ""},
		"puts nothing":                {callPuts, []uint64{0, 0}, false, ""},
		"puts to the end":             {callPuts, []uint64{testSize - 1, 1}, false, ""},
		"puts all":                    {callPuts, []uint64{0, testSize}, false, ""},
		"puts over the end":           {callPuts, []uint64{testSize - 1, 2}, false, "text of 2 bytes at 0x1fffff"},
		"puts above":                  {callPuts, []uint64{testSize + 1, 0}, false, "text of 0 bytes at 0x200001"},
		"puts far away":               {callPuts, []uint64{far, 16}, false, "text of 16 bytes at 0xfffffff000"},
		"puts too long":               {callPuts, []uint64{contents, 1 << 63}, false, "text of 9223372036854775808 bytes at 0x150000"},
		"puts wrapping":               {callPuts, []uint64{contents, minus(1)}, false, "text of 18446744073709551615 bytes"},
		"puts wrapping to its start":  {callPuts, []uint64{minus(16), 32}, false, "text of 32 bytes at 0xfffffffffffffff0"},
		"poll":                        {callPoll, []uint64{1000}, false, ""},
		"poll for ever":               {callPoll, []uint64{minus(1)}, false, ""},
		"read a sector":               {callBlockRead, []uint64{1, 512, contents, 512}, false, ""},
		"read all":                    {callBlockRead, []uint64{1, 0, contents, 8192}, false, ""},
		"read the last":               {callBlockRead, []uint64{1, 7680, contents, 512}, false, ""},
		"read behind the last":        {callBlockRead, []uint64{1, 8192, contents, 512}, true, ""},
		"read over the end":           {callBlockRead, []uint64{1, 7680, contents, 1024}, true, ""},
		"read between sectors":        {callBlockRead, []uint64{1, 256, contents, 512}, true, ""},
		"read half a sector":          {callBlockRead, []uint64{1, 512, contents, 256}, true, ""},
		"write with offset 2^63":      {callBlockWrite, []uint64{1, 1 << 63, contents, 512}, true, ""},
		"write with length 2^63":      {callBlockWrite, []uint64{1, 0, contents, 1 << 63}, true, ""},
		"write with a wrapping end":   {callBlockWrite, []uint64{1, 1024, contents, minus(512)}, true, ""},
		"write with an offset below":  {callBlockWrite, []uint64{1, minus(512), contents, 1024}, true, ""},
		"the first entry":             {callBlockRead, []uint64{0, 0, contents, 512}, true, ""},
		"a network as block device":   {callBlockRead, []uint64{2, 0, contents, 512}, true, ""},
		"no device":                   {callBlockRead, []uint64{3, 0, contents, 512}, true, ""},
		"no device by far":            {callBlockRead, []uint64{minus(1), 0, contents, 512}, true, ""},
		"a handle of more than 32":    {callBlockRead, []uint64{1<<32 + 1, 0, contents, 512}, true, ""},
		"read into code":              {callBlockRead, []uint64{1, 0, testCode, 512}, false, "contents of 512 bytes at 0x101000"},
		"read into code from below":   {callBlockRead, []uint64{1, 0, testCode - 511, 512}, false, "contents of 512 bytes at 0x100e01"},
		"read into code from above":   {callBlockRead, []uint64{1, 0, testCode + 8191, 512}, false, "contents of 512 bytes at 0x102fff"},
		"read below code":             {callBlockRead, []uint64{1, 0, testCode - 512, 512}, false, ""},
		"read above code":             {callBlockRead, []uint64{1, 0, testCode + 8192, 512}, false, ""},
		"read into boot info":         {callBlockRead, []uint64{1, 0, bootInfoBase, 512}, false, "contents of 512 bytes at 0x10000"},
		"read to the end of memory":   {callBlockRead, []uint64{1, 0, testSize - 512, 512}, false, ""},
		"read over the end of memory": {callBlockRead, []uint64{1, 0, testSize - 511, 512}, false, "contents of 512 bytes at 0x1ffe01"},
		"write code":                  {callBlockWrite, []uint64{1, 0, testCode, 512}, false, ""},
		"write from far away":         {callBlockWrite, []uint64{1, 0, far, 512}, false, "contents of 512 bytes at 0xfffffff000"},
		"receive":                     {callNetRead, []uint64{2, contents, 1514}, false, ""},
		"receive nothing":             {callNetRead, []uint64{2, contents, 0}, false, ""},
		"receive into code":           {callNetRead, []uint64{2, testCode, 1514}, false, "frame of 1514 bytes at 0x101000"},
		"receive 2^63":                {callNetRead, []uint64{2, contents, 1 << 63}, false, "frame of 9223372036854775808 bytes"},
		"receive from a block device": {callNetRead, []uint64{1, contents, 1514}, true, ""},
		"receive from no device":      {callNetRead, []uint64{0, contents, 1514}, true, ""},
		"send":                        {callNetWrite, []uint64{2, contents, 1514}, false, ""},
		"send code":                   {callNetWrite, []uint64{2, testCode, 1514}, false, ""},
		"send as much as there may":   {callNetWrite, []uint64{2, contents, maxFrame}, false, ""},
		"send more":                   {callNetWrite, []uint64{2, contents, maxFrame + 1}, true, ""},
		"send 2^63":                   {callNetWrite, []uint64{2, contents, 1 << 63}, true, ""},
		"send over the end of memory": {callNetWrite, []uint64{2, testSize - 1513, 1514}, false, "frame of 1514 bytes at 0x1ffa17"},
		"halt":                        {callHalt, []uint64{0, 7}, false, ""},
		"halt with registers":         {callHalt, []uint64{testSize - cookieSize, 255}, false, ""},
		"halt with too few":           {callHalt, []uint64{testSize - cookieSize + 1, 255}, false, "registers of 512 bytes at 0x1ffe01"},
	} {
		t.Run(what, func(t *testing.T) {
			r, err := ask(testMemory(), tc.call, tc.fields...)
			if tc.err != "" {
				require.ErrorContains(t, err, "invalid access to memory by the hypercall "+tc.call.String()+": "+tc.err)
				return
			}
			require.NoError(t, err)
			require.Equal(t, tc.refused, r.refused)
		})
	}
}

// TestWhatIsDecoded: all that a hypercall asks for.
func TestWhatIsDecoded(t *testing.T) {
	m := testMemory()
	r, err := ask(m, callBlockWrite, 1, 1024, contents, 512)
	require.NoError(t, err)
	at, _ := m.address(r.data)
	require.Equal(t, []any{70, int64(1024), uint64(contents), 512}, []any{r.file, r.offset, at, len(r.data)})
	at, _ = m.address(r.answer)
	require.EqualValues(t, argument, at)
	r, err = ask(m, callNetRead, 2, contents, 100)
	require.NoError(t, err)
	require.Equal(t, []any{71, 100}, []any{r.file, len(r.data)})
	r, err = ask(m, callPoll, 12345)
	require.NoError(t, err)
	require.EqualValues(t, 12345, r.timeout)
	r, err = ask(m, callHalt, contents, 0xfffffffe)
	require.NoError(t, err)
	require.EqualValues(t, -2, r.status)
	require.Len(t, r.data, cookieSize)
}

// TestPorts: whatever is no hypercall ends the guest, and so does an argument that is not
// all there.
func TestPorts(t *testing.T) {
	m := testMemory()
	for _, o := range []output{
		{place: portBase}, {place: portBase + 9*portStep}, {place: portBase - 1}, {place: 0}, {place: 0x80}, {place: 0xffff},
		{place: portBase + 0x100}, // where Solo5's tender has a doorbell
		{place: portBase + 2*portStep, odd: true},
	} {
		_, err := decode(m, testDevices, o)
		require.ErrorContains(t, err, "invalid access to "+place+" ", "%+v", o)
	}
	for c := callWalltime; c <= callHalt; c++ {
		size := uint32(calls[c].size)
		for _, value := range []uint32{testSize - size + 1, testSize, far & 0xffffffff, 0xffffffff} {
			_, err := decode(m, testDevices, hypercall(c, value))
			require.ErrorContains(t, err, "argument of ", "%v at %#x", c, value)
		}
		_, err := decode(m, testDevices, hypercall(c, testSize-size))
		require.NoError(t, err, "%v", c)
		_, err = decode(m, testDevices, hypercall(c, testCode))
		if c == callPuts || c == callHalt {
			require.NoError(t, err, "nothing is written to the argument of %v", c)
		} else {
			require.ErrorContains(t, err, "results of ", "%v", c)
		}
	}
}

// FuzzDecode: whatever a guest puts into memory and out to a port, what is decoded is within
// guest memory and the devices, and what will be written is not code.
func FuzzDecode(f *testing.F) {
	f.Add(uint64(portBase+5*portStep), uint32(argument), uint64(1), uint64(512), uint64(contents), uint64(512))
	f.Add(uint64(portBase+7*portStep), uint32(argument), uint64(2), uint64(contents), uint64(1514), uint64(0))
	f.Add(uint64(portBase+2*portStep), uint32(testSize-16), uint64(contents), minus(1), uint64(0), uint64(0))
	m := testMemory()
	f.Fuzz(func(t *testing.T, at uint64, value uint32, a, b, c, d uint64) {
		fields := []uint64{a, b, c, d}
		if at, ok := m.readable(uint64(value), 32); ok {
			for i, field := range fields {
				binary.LittleEndian.PutUint64(at[8*i:], field)
			}
		}
		r, err := decode(m, testDevices, output{place: at, value: value})
		if err != nil {
			return
		}
		requireHarmless(t, m, r)
	})
}

func requireHarmless(t *testing.T, m *memory, r request) {
	t.Helper()
	requireInside := func(b []byte, written bool) {
		at, inside := m.address(b)
		require.True(t, b == nil || inside, "outside of memory")
		for _, f := range m.fixed {
			overlaps := at < f.to && f.from < at+uint64(len(b))
			require.False(t, written && len(b) > 0 && overlaps, "%#x cannot be written", at)
		}
	}
	requireInside(r.answer, true)
	requireInside(r.data, r.call == callBlockRead || r.call == callNetRead)
	if r.refused {
		require.Nil(t, r.data)
		return
	}
	switch r.call {
	case callBlockRead, callBlockWrite:
		require.Equal(t, 70, r.file)
		require.GreaterOrEqual(t, r.offset, int64(0))
		require.LessOrEqual(t, uint64(r.offset)+uint64(len(r.data)), testDevices[0].Capacity)
		require.Zero(t, r.offset%512)
		require.Zero(t, len(r.data)%512)
	case callNetRead, callNetWrite:
		require.Equal(t, 71, r.file)
	}
}
