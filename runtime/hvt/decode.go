package hvt

import (
	"encoding/binary"
	"fmt"
	"math/bits"

	"albatross/runtime/image"
	"albatross/runtime/solo5"
)

// A hypercall puts out 32 bits at a place of its own: the address of its argument, which holds what
// the guest asks for, and where the results go. The place is a port on x86-64, and an address
// behind all memory on arm64: portBase and portStep for each number.

// call is the number of a hypercall.
type call uint64

const (
	callWalltime call = iota + 1
	callPuts
	callPoll
	callBlockWrite
	callBlockRead
	callNetWrite
	callNetRead
	callHalt
)

// The arguments; results are marked by an arrow.
//
//	walltime   0  u64  → nanoseconds since 1970
//
//	puts       0  u64  address of the text
//	           8  u64  its length
//
//	poll       0  u64  nanoseconds to wait at most
//	           8  u64  → the networks with frames, a bit for each handle
//	          16  i32  → how many these are
//
//	block      0  u64  handle, the index in the manifest
//	           8  u64  offset in bytes
//	          16  u64  address of the contents
//	          24  u64  their length
//	          32  i32  → result
//
//	net        0  u64  handle
//	           8  u64  address of the frame
//	          16  u64  its length, or room for it; → length of the frame read
//	          24  i32  → result
//
//	halt       0  u64  address of the registers at a trap, or 0
//	           8  i32  exit status
var calls = [...]struct {
	name string
	size uint64
}{
	callWalltime:   {"walltime", 8},
	callPuts:       {"puts", 16},
	callPoll:       {"poll", 24},
	callBlockWrite: {"block write", 40},
	callBlockRead:  {"block read", 40},
	callNetWrite:   {"net write", 32},
	callNetRead:    {"net read", 32},
	callHalt:       {"halt", 16},
}

func (c call) String() string { return calls[c].name }

// cookieSize is how much a guest must give where it gives registers.
const cookieSize = 512

// statusAbort is the exit status of a guest that aborts, or that has handled a trap.
const statusAbort = 255

// maxFrame is more than a network takes, whatever its MTU. The kernel would take a copy of
// almost any length.
const maxFrame = 1 << 16

// Where the results are.
const (
	pollReady   = 8
	pollResult  = 16
	blockResult = 32
	netLength   = 16
	netResult   = 24
)

// result is what a guest reads of a hypercall.
type result uint32

const (
	resultOK result = iota
	resultAgain
	resultInvalid
	resultFailed // for no reason that the guest could know
)

// request is a hypercall that has been checked: all of it can be used as it is.
type request struct {
	call    call
	answer  []byte // the argument in guest memory, where results go; it can be written
	refused bool   // the device does not exist, or has no such place: nothing below is set
	file    int    // of the device
	offset  int64  // in a block device
	data    []byte // in guest memory; it can be written if the device is read
	timeout uint64 // of poll, in nanoseconds
	status  int32  // of halt
}

// decode checks what a guest has put out. It returns an error, which ends the guest, for what
// no guest does that works.
func decode(m *memory, devices []solo5.Device, o output) (request, error) {
	n := call((o.place - portBase) / portStep)
	if o.odd || n < callWalltime || n > callHalt || o.place != portBase+portStep*uint64(n) {
		return request{}, fmt.Errorf("invalid access to %s %#x", place, o.place)
	}
	argument, ok := m.readable(uint64(o.value), calls[n].size)
	if !ok {
		return request{}, outside(n, "argument", uint64(o.value), calls[n].size)
	}
	r := request{call: n}
	switch n {
	case callPuts:
		return r.decodePuts(m, argument)
	case callHalt:
		return r.decodeHalt(m, argument)
	}
	if r.answer, ok = m.writable(uint64(o.value), calls[n].size); !ok {
		return request{}, outside(n, "results", uint64(o.value), calls[n].size)
	}
	switch n {
	case callPoll:
		r.timeout = binary.LittleEndian.Uint64(argument)
		return r, nil
	case callBlockRead, callBlockWrite:
		return r.decodeBlock(m, devices, argument)
	case callNetRead, callNetWrite:
		return r.decodeNet(m, devices, argument)
	}
	return r, nil
}

func outside(c call, what string, address, length uint64) error {
	return fmt.Errorf("invalid access to memory by the hypercall %v: %s of %d bytes at %#x", c, what, length, address)
}

func (r request) decodePuts(m *memory, argument []byte) (request, error) {
	le := binary.LittleEndian
	address, length := le.Uint64(argument), le.Uint64(argument[8:])
	var ok bool
	if r.data, ok = m.readable(address, length); !ok {
		return request{}, outside(r.call, "text", address, length)
	}
	return r, nil
}

func (r request) decodeHalt(m *memory, argument []byte) (request, error) {
	le := binary.LittleEndian
	cookie := le.Uint64(argument)
	r.status = int32(le.Uint32(argument[8:]))
	if cookie == 0 {
		return r, nil
	}
	var ok bool
	if r.data, ok = m.readable(cookie, cookieSize); !ok {
		return request{}, outside(r.call, "registers", cookie, cookieSize)
	}
	return r, nil
}

func (r request) decodeBlock(m *memory, devices []solo5.Device, argument []byte) (request, error) {
	le := binary.LittleEndian
	handle, offset := le.Uint64(argument), le.Uint64(argument[8:])
	address, length := le.Uint64(argument[16:]), le.Uint64(argument[24:])
	d := find(devices, handle, image.Block)
	if d == nil || !wholeSectors(d, offset, length) {
		r.refused = true
		return r, nil
	}
	r.file, r.offset = d.File, int64(offset)
	return r.decodeData(m, "contents", address, length, r.call == callBlockRead)
}

// wholeSectors reports whether a range of a block device consists of sectors, and is within
// it.
func wholeSectors(d *solo5.Device, offset, length uint64) bool {
	end, carry := bits.Add64(offset, length, 0)
	size := uint64(d.SectorSize)
	return carry == 0 && end <= d.Capacity && offset%size == 0 && length%size == 0
}

func (r request) decodeNet(m *memory, devices []solo5.Device, argument []byte) (request, error) {
	le := binary.LittleEndian
	handle, address, length := le.Uint64(argument), le.Uint64(argument[8:]), le.Uint64(argument[16:])
	d := find(devices, handle, image.Net)
	if d == nil || r.call == callNetWrite && length > maxFrame {
		r.refused = true
		return r, nil
	}
	r.file = d.File
	return r.decodeData(m, "frame", address, length, r.call == callNetRead)
}

// find returns the device with a handle, or nil if there is none of that kind.
func find(devices []solo5.Device, handle uint64, kind image.DeviceKind) *solo5.Device {
	if handle == 0 || handle > uint64(len(devices)) || devices[handle-1].Kind != kind {
		return nil
	}
	return &devices[handle-1]
}

func (r request) decodeData(m *memory, what string, address, length uint64, filled bool) (request, error) {
	var ok bool
	if r.data, ok = m.readable(address, length); ok && filled {
		r.data, ok = m.writable(address, length)
	}
	if !ok {
		return request{}, outside(r.call, what, address, length)
	}
	return r, nil
}
