// Package wire translates between the wire protocol of native albatross and the values of
// package messages. It does not decide what a command means, who may give it, and what
// the answer is.
//
// # Flow
//
// A client connects, writes one frame with a command, and reads one frame with a success
// or a failure. After a subscription, data frames follow until the client leaves. After a
// block dump, data frames follow up to an end mark. After a block set, the client writes
// raw chunks (see ReadChunk).
//
//	client                              daemon
//	frame(wire(command))       ------>
//	                           <------  frame(wire(success | failure))
//	                           <------  frame(wire(data)) ...
//	[chunk(bytes) ... end]     ------>
//
// # Versions
//
//	3  albatross 1: names are sequences of labels
//	4  the statistics of a process also have runtime, cow and start
//	5  since 2.0: names are text
//
// Independent of the version, commands and answers came in new forms, each with a tag of
// its own. 2.6 dropped versions 3 and 4 and all forms that had been replaced by then, and
// added new ones. The decoder accepts what 2.5.0 accepts and what 2.7.2 accepts, and so
// everything since 1.1. A message keeps its form, so that it is encoded again byte for
// byte, and answered in the client's form (see FitInfo).
//
//	until 2.5   versions 3 and 4; console add without a limit, old subscriptions
//	            and their lines; info 1 to 3, get 1 and 2, restart 1, create 1
//	            and 2, and what answers them
//	all         info 4, get 3, create 3, restart with the same or Args0
//	since 2.6   info 5, create 4, restart Args1; console add with a limit and the
//	            list of inactive consoles (2.6.1)
//	since 2.7   info 6, create 5, restart Args2, BHyve
//
// # Limits
//
// The announced length of a frame is checked before it is read: see MaxFrame, MaxCommand
// and MaxChunk. Decoding allocates at most 20 times the length of the frame, and for a
// command at most some MB: see maxTexts and maxList. Numbers have 63 bits, as in native
// programs.
//
// # Reading the source
//
// Two functions with the type's name, next to each other, describe each type of the
// protocol: one reads it (decoder), one writes it (encoder). A CHOICE is a switch with
// the tag of each alternative, in the order of tags.
//
//	wire.go       message, header, payload
//	command.go    what clients ask for
//	answer.go     positive answers
//	data.go       console lines, statistics, chunks of a block device
//	config.go     configurations and arguments of unikernels, in all forms
//	info.go       running unikernels, in all forms
//	state.go      the state file of a native daemon
//	extension.go  the command inside a certificate
//	frame.go      the framing of messages and chunks; limits
//	fit.go        the forms of answers and questions
//	decoder.go    elements of DER, read
//	encoder.go    elements of DER, written
//	time.go       the two kinds of time
package wire

import (
	"fmt"

	"albatross/messages"
)

// Decode reads one message, without its frame header.
//
// Images and contents of block devices in the message are slices of the frame; everything
// else is copied. Decoding allocates at most 20 times the length of the frame, however
// malicious it is. Labels of names are folded to lower case, as native does since 2.6.1.
func Decode(frame []byte) (messages.Wire, error) {
	d := newDecoder(frame)
	m := d.wire()
	if err := d.finish("message"); err != nil {
		return messages.Wire{}, err
	}
	return m, nil
}

// Append appends the encoding of a message to dst. It omits fields that the message's
// form lacks; several CPUs in a form with one are an error.
func Append(dst []byte, m messages.Wire) ([]byte, error) {
	e := newEncoder(m.Header.Version)
	e.wire(m)
	if err := e.startWriting(dst); err != nil {
		return dst, err
	}
	e.wire(m)
	return e.out, nil
}

// Wire ::= SEQUENCE { header Header, payload Payload }

func (d *decoder) wire() (m messages.Wire) {
	d.seq("message", func() {
		m.Header = d.head()
		m.Payload = d.payload()
	})
	return m
}

func (e *encoder) wire(m messages.Wire) {
	e.seq(func() {
		e.head(m.Header)
		e.payload(m.Payload)
	})
}

// Header ::= SEQUENCE { version Int, sequence I64, name Name }

func (d *decoder) head() (h messages.Header) {
	d.seq("header", func() {
		h.Version = d.protocol()
		h.Sequence = d.i64("sequence")
		h.Name = d.name("name")
	})
	return h
}

func (e *encoder) head(h messages.Header) {
	e.seq(func() {
		e.protocol(h.Version)
		e.i64(h.Sequence)
		e.name(h.Name)
	})
}

// protocol reads the version, which decides the form of names.
func (d *decoder) protocol() messages.Version {
	v := messages.Version(d.int("version"))
	switch v {
	case messages.Version3, messages.Version4:
		d.only(until25)
	case messages.Version5:
	default:
		d.fail("version", fmt.Errorf("unknown version number 0x%X", uint64(v)&(1<<63-1)))
	}
	d.version = v
	return v
}

func (e *encoder) protocol(v messages.Version) {
	if v < messages.Version3 || v > messages.Version5 {
		e.fail(fmt.Errorf("internal error: unknown version %d", v))
	}
	e.int(int(v))
}

// Payload ::= CHOICE { [0] Command, [1] Success, [2] Str, [3] Data }

func (d *decoder) payload() (p messages.Payload) {
	d.choice("payload", func(tag int) {
		switch tag {
		case 0:
			d.limits = &commandLimits{texts: maxTexts}
			p = d.command()
			d.limits = nil
		case 1:
			p = d.success()
		case 2:
			p = messages.Failure{Text: messages.Public(d.str("failure"))}
		case 3:
			p = d.data()
		default:
			d.unknown(tag)
		}
	})
	return p
}

func (e *encoder) payload(p messages.Payload) {
	switch p := p.(type) {
	case messages.Command:
		e.explicit(0, func() { e.command(p) })
	case messages.Success:
		e.explicit(1, func() { e.success(p) })
	case messages.Failure:
		e.explicit(2, func() { e.str(string(p.Text)) })
	case messages.Data:
		e.explicit(3, func() { e.data(p) })
	default:
		e.unknown(p)
	}
}

// unknown reports a value that no function of this package describes.
func (e *encoder) unknown(p any) {
	e.fail(fmt.Errorf("internal error: cannot encode a %T", p))
}
