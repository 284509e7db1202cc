package wire

import (
	"cmp"
	"errors"
	"slices"

	"golang.org/x/crypto/cryptobyte/asn1"

	"albatross/messages"
)

// Config1 ::= SEQUENCE { typ, compressed BOOLEAN, image Bytes, fail, cpuid Int, memory Int,
//   blocks [0] SET OF Str OPTIONAL, bridges [1] SET OF Str OPTIONAL,
//   argv [2] SEQUENCE OF Str OPTIONAL }
// Config2: bridges [1] SEQUENCE OF SEQUENCE { netif Str, bridge Str OPTIONAL }
// Config3: blocks [0] SET OF BlockDev, bridges [1] SET OF NetDev
// Config4: startup Int OPTIONAL, addName BOOLEAN after image
// Config5: cpuids SET OF Int for cpuid;
//   cpus [3] Int OPTIONAL, linuxBoot [4] Str OPTIONAL at the end

func (d *decoder) config(form int) messages.Config {
	c := messages.Config{Arguments: defaultArguments()}
	d.seq("configuration", func() {
		c.Type = d.typ()
		c.Compressed = d.bool("compressed")
		c.Image = d.octets("image")
		if form >= 4 {
			c.Startup = d.optInt("startup")
			c.AddName = d.bool("add-name")
		}
		c.Fail = d.failBehaviour()
		c.CPUIDs = d.cpuids(form >= 5)
		c.Memory = d.int("memory")
		c.Blocks = d.blocks(form)
		c.Networks = d.networks(form)
		c.Argv = d.argv(2)
		if form >= 5 {
			c.CPUs = d.cpus(3)
			c.LinuxBoot = d.linuxBoot(4)
		}
	})
	return c
}

func (e *encoder) config(form int, c *messages.Config) {
	e.seq(func() {
		e.typ(c.Type)
		e.bool(c.Compressed)
		e.large(c.Image)
		if form >= 4 {
			e.optInt(c.Startup)
			e.bool(c.AddName)
		}
		e.failBehaviour(c.Fail)
		e.cpuids(form >= 5, c.CPUIDs)
		e.int(c.Memory)
		e.blocks(form, c.Blocks)
		e.networks(form, c.Networks)
		e.argv(2, c.Argv)
		if form >= 5 {
			e.explicit(3, func() { e.int(c.CPUs) })
			e.linuxBoot(4, c.LinuxBoot)
		}
	})
}

// Args0 ::= SEQUENCE { fail, cpuid Int, memory Int, blocks, bridges, argv as Config3 }
// Args1: startup Int OPTIONAL, addName BOOLEAN after fail
// Args2: cpuids, cpus and linuxBoot as Config5

func (d *decoder) arguments(form messages.RestartForm) messages.Arguments {
	a := defaultArguments()
	d.seq("arguments", func() {
		a.Fail = d.failBehaviour()
		if form >= messages.RestartArgs1 {
			a.Startup = d.optInt("startup")
			a.AddName = d.bool("add-name")
		}
		a.CPUIDs = d.cpuids(form >= messages.RestartArgs2)
		a.Memory = d.int("memory")
		a.Blocks = d.blocks(3)
		a.Networks = d.networks(3)
		a.Argv = d.argv(2)
		if form >= messages.RestartArgs2 {
			a.CPUs = d.cpus(3)
			a.LinuxBoot = d.linuxBoot(4)
		}
	})
	return a
}

func (e *encoder) arguments(form messages.RestartForm, a *messages.Arguments) {
	e.seq(func() {
		e.failBehaviour(a.Fail)
		if form >= messages.RestartArgs1 {
			e.optInt(a.Startup)
			e.bool(a.AddName)
		}
		e.cpuids(form >= messages.RestartArgs2, a.CPUIDs)
		e.int(a.Memory)
		e.blocks(3, a.Blocks)
		e.networks(3, a.Networks)
		e.argv(2, a.Argv)
		if form >= messages.RestartArgs2 {
			e.explicit(3, func() { e.int(a.CPUs) })
			e.linuxBoot(4, a.LinuxBoot)
		}
	})
}

// defaultArguments returns the meaning of a form without them.
func defaultArguments() messages.Arguments {
	return messages.Arguments{AddName: true, CPUs: 1}
}

// Typ ::= CHOICE { [0] NULL (Solo5), [1] NULL (BHyve) }

func (d *decoder) typ() (t messages.Type) {
	d.choice("type", func(tag int) {
		switch tag {
		case 0:
			t = messages.Solo5
		case 1:
			d.only(since26)
			t = messages.BHyve
		default:
			d.unknown(tag)
		}
		d.null()
	})
	return t
}

func (e *encoder) typ(t messages.Type) {
	switch t {
	case messages.Solo5:
		e.explicit(0, e.null)
	case messages.BHyve:
		e.explicit(1, e.null)
	default:
		e.fail(errors.New("internal error: unknown type of unikernel"))
	}
}

// FailBehaviour ::= CHOICE { [0] NULL (quit), [1] SET OF Int (restart) }

func (d *decoder) failBehaviour() (f messages.FailBehaviour) {
	d.choice("fail behaviour", func(tag int) {
		switch tag {
		case 0:
			d.null()
		case 1:
			f.Restart = true
			f.Codes = d.ints("exit codes", asn1.SET)
		default:
			d.unknown(tag)
		}
	})
	return f
}

func (e *encoder) failBehaviour(f messages.FailBehaviour) {
	if !f.Restart {
		e.explicit(0, e.null)
		return
	}
	codes := sorted(f.Codes)
	e.explicit(1, func() { e.setOf(len(codes), func(i int) { e.int(codes[i]) }) })
}

// cpuids reads the CPUs, or the only one in older forms.
func (d *decoder) cpuids(several bool) []int {
	if several {
		return d.ints("cpuids", asn1.SET)
	}
	return []int{d.int("cpuid")}
}

func (e *encoder) cpuids(several bool, ids []int) {
	ids = sorted(ids)
	switch {
	case several:
		e.setOf(len(ids), func(i int) { e.int(ids[i]) })
	case len(ids) == 1:
		e.int(ids[0])
	default:
		e.fail(errors.New("internal error: this form has exactly one CPU"))
	}
}

// blocks reads the block devices; an empty list is written as an absent one.
func (d *decoder) blocks(form int) (l []messages.BlockDevice) {
	element := d.blockDevice
	if form < 3 {
		element = func() messages.BlockDevice { return messages.BlockDevice{Name: d.str("block device")} }
	}
	d.optional("blocks", 0, func() { l = list(d, "blocks", asn1.SET, element) })
	return l
}

func (e *encoder) blocks(form int, l []messages.BlockDevice) {
	element := func(i int) { e.blockDevice(&l[i]) }
	if form < 3 {
		element = func(i int) { e.str(l[i].Name) }
	}
	if len(l) > 0 {
		e.explicit(0, func() { e.setOf(len(l), element) })
	}
}

// networks reads the network devices; an empty list is written as an absent one.
// Form 2 has a SEQUENCE OF, the others a SET OF.
func (d *decoder) networks(form int) (l []messages.Network) {
	d.optional("bridges", 1, func() {
		switch form {
		case 1:
			l = list(d, "bridges", asn1.SET, func() messages.Network {
				return messages.Network{Name: d.str("bridge")}
			})
		case 2:
			l = list(d, "bridges", asn1.SEQUENCE, d.oldNetwork)
		default:
			l = list(d, "bridges", asn1.SET, d.network)
		}
	})
	return l
}

func (e *encoder) networks(form int, l []messages.Network) {
	if len(l) == 0 {
		return
	}
	e.explicit(1, func() {
		switch form {
		case 1:
			e.setOf(len(l), func(i int) { e.str(l[i].Name) })
		case 2:
			e.seqOf(len(l), func(i int) { e.oldNetwork(&l[i]) })
		default:
			e.setOf(len(l), func(i int) { e.network(&l[i]) })
		}
	})
}

// BlockDev ::= SEQUENCE { name Str, device Str OPTIONAL, sectorSize Int OPTIONAL }

func (d *decoder) blockDevice() (b messages.BlockDevice) {
	d.seq("block device", func() {
		b.Name = d.str("name")
		b.Device = d.optStr("device")
		b.SectorSize = d.optInt("sector size")
	})
	return b
}

func (e *encoder) blockDevice(b *messages.BlockDevice) {
	e.seq(func() {
		e.str(b.Name)
		e.optStr(b.Device)
		e.optInt(b.SectorSize)
	})
}

// NetDev ::= SEQUENCE { name Str, bridge Str OPTIONAL, mac Mac OPTIONAL }

func (d *decoder) network() (n messages.Network) {
	d.seq("network device", func() {
		n.Name = d.str("name")
		n.Bridge = d.optStr("bridge")
		if d.at(asn1.OCTET_STRING) {
			n.MAC = messages.Some(d.mac("mac"))
		}
	})
	return n
}

func (e *encoder) network(n *messages.Network) {
	e.seq(func() {
		e.str(n.Name)
		e.optStr(n.Bridge)
		if n.MAC.OK {
			e.bytes(n.MAC.Value[:])
		}
	})
}

// oldNetwork returns a NetDev without a mac, as in Config2.
func (d *decoder) oldNetwork() (n messages.Network) {
	d.seq("network device", func() {
		n.Name = d.str("name")
		n.Bridge = d.optStr("bridge")
	})
	return n
}

func (e *encoder) oldNetwork(n *messages.Network) {
	e.seq(func() {
		e.str(n.Name)
		e.optStr(n.Bridge)
	})
}

func (d *decoder) argv(tag int) (o messages.Option[[]string]) {
	d.optional("argv", tag, func() { o = messages.Some(d.strs("argv")) })
	return o
}

func (e *encoder) argv(tag int, o messages.Option[[]string]) {
	if o.OK {
		e.explicit(tag, func() { e.strs(o.Value) })
	}
}

func (d *decoder) cpus(tag int) int {
	n := 1
	d.optional("cpus", tag, func() { n = d.int("cpus") })
	return n
}

func (d *decoder) linuxBoot(tag int) (o messages.Option[string]) {
	d.optional("linux boot", tag, func() { o = messages.Some(d.str("linux boot")) })
	return o
}

func (e *encoder) linuxBoot(tag int, o messages.Option[string]) {
	if o.OK {
		e.explicit(tag, func() { e.str(o.Value) })
	}
}

// optional reads an explicitly tagged element that may be absent.
func (d *decoder) optional(what string, tag int, body func()) {
	if d.at(contextTag(tag)) {
		d.explicit(what, tag, body)
	}
}

// sorted returns a list as a set: in ascending order, without duplicates. It does not
// change the list, and copies it only if necessary.
func sorted[T cmp.Ordered](l []T) []T {
	for i := 1; i < len(l); i++ {
		if l[i] <= l[i-1] {
			l = slices.Clone(l)
			slices.Sort(l)
			return slices.Compact(l)
		}
	}
	return l
}
