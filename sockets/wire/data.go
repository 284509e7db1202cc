package wire

import (
	"time"

	"golang.org/x/crypto/cryptobyte/asn1"

	"albatross/messages"
)

// Data ::= CHOICE { [0] SEQUENCE { UtcTime, Str }, [1] Stats, [2] NULL (dropped),
//   [3] SEQUENCE { GenTime, Str }, [4] Chunk }

func (d *decoder) data() (p messages.Data) {
	d.choice("data", func(tag int) {
		switch tag {
		case 0, 3:
			p = d.consoleLine(tag)
		case 1:
			p = d.stats()
		case 2:
			d.dropped("log data")
		case 4:
			p = d.chunk()
		default:
			d.unknown(tag)
		}
	})
	return p
}

func (e *encoder) data(p messages.Data) {
	switch p := p.(type) {
	case messages.DataConsole:
		e.explicit(lineTag(p.Old), func() { e.line(p) })
	case messages.DataStats:
		e.explicit(1, func() { e.stats(&p) })
	case messages.DataBlock:
		e.explicit(4, func() { e.chunk(p) })
	default:
		e.unknown(p)
	}
}

// DecodeLine reads a message that must be a console line. It costs one allocation, Decode
// two.
func DecodeLine(frame []byte) (messages.Header, messages.DataConsole, error) {
	d := newDecoder(frame)
	var h messages.Header
	var p messages.DataConsole
	d.seq("message", func() {
		h = d.head()
		d.explicit("payload", 3, func() {
			d.choice("data", func(tag int) { p = d.consoleLine(tag) })
		})
	})
	if err := d.finish("console line"); err != nil {
		return messages.Header{}, messages.DataConsole{}, err
	}
	return h, p, nil
}

func (d *decoder) consoleLine(tag int) (p messages.DataConsole) {
	switch tag {
	case 0:
		d.only(until25)
		p = d.line(true)
	case 3:
		p = d.line(false)
	default:
		d.unknown(tag)
	}
	return p
}

func (d *decoder) line(old bool) messages.DataConsole {
	p := messages.DataConsole{Old: old}
	d.seq("console line", func() {
		if old {
			p.Time = d.utcTime("time")
		} else {
			p.Time = d.genTime("time")
		}
		p.Line = d.str("line")
	})
	return p
}

func (e *encoder) line(p messages.DataConsole) {
	e.seq(func() {
		e.lineTime(p.Old, p.Time)
		e.str(p.Line)
	})
}

func lineTag(old bool) int {
	if old {
		return 0
	}
	return 3
}

func (e *encoder) lineTime(old bool, at time.Time) {
	if old {
		e.utcTime(at)
	} else {
		e.genTime(at)
	}
}

// Chunk ::= CHOICE { [0] Bytes, [1] NULL (the end) }

func (d *decoder) chunk() (p messages.DataBlock) {
	d.choice("chunk", func(tag int) {
		switch tag {
		case 0:
			p.Chunk = messages.Some(d.octets("chunk"))
		case 1:
			d.null()
		default:
			d.unknown(tag)
		}
	})
	return p
}

func (e *encoder) chunk(p messages.DataBlock) {
	if p.Chunk.OK {
		e.explicit(0, func() { e.large(p.Chunk.Value) })
	} else {
		e.explicit(1, e.null)
	}
}

// Stats ::= SEQUENCE { Rusage, SEQUENCE OF IfData,
//   vmm [0] SEQUENCE OF SEQUENCE { Str, I64 } OPTIONAL, mem [1] IMPLICIT KinfoMem OPTIONAL }

func (d *decoder) stats() (p messages.DataStats) {
	d.seq("stats", func() {
		d.rusage(&p.Rusage)
		p.IfData = list(d, "interfaces", asn1.SEQUENCE, d.ifData)
		d.optional("vmm", 0, func() {
			p.VMM = messages.Some(list(d, "vmm", asn1.SEQUENCE, d.counter))
		})
		// IMPLICIT: the tag replaces that of the sequence.
		d.optional("mem", 1, func() {
			p.KinfoMem.OK = true
			d.kinfoMem(&p.KinfoMem.Value)
		})
	})
	return p
}

func (e *encoder) stats(p *messages.DataStats) {
	e.seq(func() {
		e.rusage(&p.Rusage)
		e.seqOf(len(p.IfData), func(i int) { e.ifData(&p.IfData[i]) })
		if p.VMM.OK {
			e.listOf(0, len(p.VMM.Value), func(i int) { e.counter(p.VMM.Value[i]) })
		}
		if p.KinfoMem.OK {
			e.explicit(1, func() { e.kinfoMem(&p.KinfoMem.Value) })
		}
	})
}

func (d *decoder) counter() (c messages.Counter) {
	d.seq("counter", func() {
		c.Name = d.str("name")
		c.Value = d.i64("value")
	})
	return c
}

func (e *encoder) counter(c messages.Counter) {
	e.seq(func() {
		e.str(c.Name)
		e.i64(c.Value)
	})
}

// Timeval ::= SEQUENCE { seconds I64, microseconds Int }

func (d *decoder) timeval(what string) (t messages.Timeval) {
	d.seq(what, func() {
		t.Seconds = d.i64("seconds")
		t.Microseconds = d.int("microseconds")
	})
	return t
}

func (e *encoder) timeval(t messages.Timeval) {
	e.seq(func() {
		e.i64(t.Seconds)
		e.int(t.Microseconds)
	})
}

// Rusage ::= SEQUENCE { utime Timeval, stime Timeval, maxrss, ixrss, idrss, isrss, minflt,
//   majflt, nswap, inblock, outblock, msgsnd, msgrcv, nsignals, nvcsw, nivcsw: I64 }

func (d *decoder) rusage(r *messages.Rusage) {
	d.seq("rusage", func() {
		r.UTime = d.timeval("utime")
		r.STime = d.timeval("stime")
		r.MaxRSS = d.i64("maxrss")
		r.IxRSS = d.i64("ixrss")
		r.IdRSS = d.i64("idrss")
		r.IsRSS = d.i64("isrss")
		r.MinFlt = d.i64("minflt")
		r.MajFlt = d.i64("majflt")
		r.NSwap = d.i64("nswap")
		r.InBlock = d.i64("inblock")
		r.OutBlock = d.i64("outblock")
		r.MsgSnd = d.i64("msgsnd")
		r.MsgRcv = d.i64("msgrcv")
		r.NSignals = d.i64("nsignals")
		r.NVCSw = d.i64("nvcsw")
		r.NIvCSw = d.i64("nivcsw")
	})
}

func (e *encoder) rusage(r *messages.Rusage) {
	e.seq(func() {
		e.timeval(r.UTime)
		e.timeval(r.STime)
		e.i64(r.MaxRSS)
		e.i64(r.IxRSS)
		e.i64(r.IdRSS)
		e.i64(r.IsRSS)
		e.i64(r.MinFlt)
		e.i64(r.MajFlt)
		e.i64(r.NSwap)
		e.i64(r.InBlock)
		e.i64(r.OutBlock)
		e.i64(r.MsgSnd)
		e.i64(r.MsgRcv)
		e.i64(r.NSignals)
		e.i64(r.NVCSw)
		e.i64(r.NIvCSw)
	})
}

// KinfoMem ::= SEQUENCE { vsize, rss, tsize, dsize, ssize, runtime: I64, cow Int, start Timeval }

func (d *decoder) kinfoMem(k *messages.KinfoMem) {
	k.VSize = d.i64("vsize")
	k.RSS = d.i64("rss")
	k.TSize = d.i64("tsize")
	k.DSize = d.i64("dsize")
	k.SSize = d.i64("ssize")
	k.Runtime = d.i64("runtime")
	k.Cow = d.int("cow")
	k.Start = d.timeval("start")
}

func (e *encoder) kinfoMem(k *messages.KinfoMem) {
	e.i64(k.VSize)
	e.i64(k.RSS)
	e.i64(k.TSize)
	e.i64(k.DSize)
	e.i64(k.SSize)
	e.i64(k.Runtime)
	e.int(k.Cow)
	e.timeval(k.Start)
}

// IfData ::= SEQUENCE { device Str,
//   flags, sendLength, maxSendLength, sendDrops, mtu: I32,
//   baudrate, inputPackets, inputErrors, outputPackets, outputErrors, collisions,
//   inputBytes, outputBytes, inputMcast, outputMcast, inputDropped, outputDropped: I64 }

func (d *decoder) ifData() (n messages.IfData) {
	d.seq("interface", func() {
		n.Device = d.str("device")
		n.Flags = d.i32("flags")
		n.SendLength = d.i32("send length")
		n.MaxSendLength = d.i32("max send length")
		n.SendDrops = d.i32("send drops")
		n.MTU = d.i32("mtu")
		n.Baudrate = d.i64("baudrate")
		n.InputPackets = d.i64("input packets")
		n.InputErrors = d.i64("input errors")
		n.OutputPackets = d.i64("output packets")
		n.OutputErrors = d.i64("output errors")
		n.Collisions = d.i64("collisions")
		n.InputBytes = d.i64("input bytes")
		n.OutputBytes = d.i64("output bytes")
		n.InputMcast = d.i64("input mcast")
		n.OutputMcast = d.i64("output mcast")
		n.InputDropped = d.i64("input dropped")
		n.OutputDropped = d.i64("output dropped")
	})
	return n
}

func (e *encoder) ifData(n *messages.IfData) {
	e.seq(func() {
		e.str(n.Device)
		e.i32(n.Flags)
		e.i32(n.SendLength)
		e.i32(n.MaxSendLength)
		e.i32(n.SendDrops)
		e.i32(n.MTU)
		e.i64(n.Baudrate)
		e.i64(n.InputPackets)
		e.i64(n.InputErrors)
		e.i64(n.OutputPackets)
		e.i64(n.OutputErrors)
		e.i64(n.Collisions)
		e.i64(n.InputBytes)
		e.i64(n.OutputBytes)
		e.i64(n.InputMcast)
		e.i64(n.OutputMcast)
		e.i64(n.InputDropped)
		e.i64(n.OutputDropped)
	})
}
