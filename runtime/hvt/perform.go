package hvt

import (
	"encoding/binary"
	"time"

	"golang.org/x/sys/unix"

	"albatross/runtime/image"
	"albatross/runtime/solo5"
)

// perform carries out a checked hypercall, and writes its results into guest memory.
func (g *Guest) perform(r request) {
	switch r.call {
	case callWalltime:
		binary.LittleEndian.PutUint64(r.answer, uint64(time.Now().UnixNano()))
	case callPuts:
		puts(r.data)
	case callPoll:
		g.poll(r)
	case callBlockRead:
		r.put(blockResult, r.transfer(unix.Pread))
	case callBlockWrite:
		r.put(blockResult, r.transfer(unix.Pwrite))
	case callNetRead:
		r.put(netResult, r.receive())
	case callNetWrite:
		r.put(netResult, r.send())
	}
}

// put writes a result to its place in the argument.
func (r request) put(offset int, value result) {
	binary.LittleEndian.PutUint32(r.answer[offset:], uint32(value))
}

// puts writes a text to the console. A pipe takes part of a long one at a time. What cannot
// be written is lost, as the guest is told of no errors.
func puts(text []byte) {
	for len(text) > 0 {
		n, err := solo5.Retry(func() (int, error) { return unix.Write(unix.Stdout, text) })
		if err != nil || n <= 0 {
			return
		}
		text = text[n:]
	}
}

// transfer reads or writes sectors. Linux moves part of many at a time.
func (r request) transfer(move func(fd int, b []byte, offset int64) (int, error)) result {
	if r.refused {
		return resultInvalid
	}
	for data, offset := r.data, r.offset; len(data) > 0; {
		n, err := move(r.file, data, offset)
		if err == unix.EINTR {
			continue
		}
		if err != nil || n <= 0 {
			return resultFailed
		}
		data, offset = data[n:], offset+int64(n)
	}
	return resultOK
}

func (r request) receive() result {
	if r.refused {
		return resultInvalid
	}
	n, err := unix.Read(r.file, r.data)
	switch {
	case err == unix.EAGAIN, err == unix.EINTR, err == unix.ECONNRESET, err == nil && n == 0:
		return resultAgain
	case err != nil:
		return resultFailed
	}
	binary.LittleEndian.PutUint64(r.answer[netLength:], uint64(n))
	return resultOK
}

func (r request) send() result {
	if r.refused {
		return resultInvalid
	}
	for {
		n, err := unix.Write(r.file, r.data)
		switch {
		case err == unix.EINTR:
			continue
		case lost(err):
			return resultOK
		case err != nil || n != len(r.data):
			return resultFailed
		}
		return resultOK
	}
}

// lost reports whether a socket has not taken a frame, since it is full, or since nobody is at
// its other end. A tap takes a frame in any case, and may lose it. So here it is lost as well.
func lost(err error) bool {
	return err == unix.EAGAIN || err == unix.EPIPE || err == unix.ECONNRESET
}

// poll waits for a frame of any network, or for the time to pass.
func (g *Guest) poll(r request) {
	// Linux writes what is left of the time, if a signal interrupts it.
	left := unix.NsecToTimespec(int64(min(r.timeout, 1<<62)))
	for {
		_, err := unix.Ppoll(g.waiting, &left, nil)
		if !g.ignoreClosed() && err != unix.EINTR {
			break
		}
	}
	ready, count := g.ready()
	binary.LittleEndian.PutUint64(r.answer[pollReady:], ready)
	binary.LittleEndian.PutUint32(r.answer[pollResult:], count)
}

// ignoreClosed reports whether the last poll has found networks at whose other end nobody is,
// and ignores them from now on: the kernel would report them for ever.
func (g *Guest) ignoreClosed() (found bool) {
	for i := range g.waiting {
		if w := &g.waiting[i]; w.Revents&unix.POLLHUP != 0 {
			w.Fd, w.Revents, found = -1, 0, true
		}
	}
	return found
}

// ready returns the networks for which the last poll has found something, as a set of
// handles, and how many they are.
func (g *Guest) ready() (set uint64, count uint32) {
	n := 0
	for i, d := range g.devices {
		if d.Kind != image.Net {
			continue
		}
		if g.waiting[n].Revents != 0 {
			set |= 1 << (i + 1)
			count++
		}
		n++
	}
	return set, count
}
