package wire

import (
	"bytes"

	"golang.org/x/crypto/cryptobyte/asn1"

	"albatross/messages"
)

// Info2 ::= SEQUENCE { typ, fail, cpuid Int, memory Int, digest Bytes,
//   blocks [0] SET OF BlockDev OPTIONAL, bridges [1] SET OF NetDev OPTIONAL,
//   argv [2] SEQUENCE OF Str OPTIONAL }
// Info3: started [3] GenTime OPTIONAL at the end
// Info4: blocks [0] SET OF BlockInfo OPTIONAL, bridges [1] SET OF NetInfo OPTIONAL
// Info5: startup Int OPTIONAL after typ
// Info6: cpuids SET OF Int for cpuid;
//   cpus [4] Int OPTIONAL, linuxBoot [5] Str OPTIONAL at the end

func (d *decoder) info(form int) messages.Info {
	u := messages.Info{Started: epoch, CPUs: 1}
	d.seq("info", func() {
		u.Type = d.typ()
		if form >= 5 {
			u.Startup = d.optInt("startup")
		}
		u.Fail = d.failBehaviour()
		u.CPUIDs = d.cpuids(form >= 6)
		u.Memory = d.int("memory")
		u.Digest = bytes.Clone(d.octets("digest"))
		u.Blocks = d.blockInfos(form)
		u.Networks = d.networkInfos(form)
		u.Argv = d.argv(2)
		if form >= 3 {
			d.optional("started", 3, func() { u.Started = d.genTime("started") })
		}
		if form >= 6 {
			u.CPUs = d.cpus(4)
			u.LinuxBoot = d.linuxBoot(5)
		}
	})
	return u
}

func (e *encoder) info(form int, u *messages.Info) {
	e.seq(func() {
		e.typ(u.Type)
		if form >= 5 {
			e.optInt(u.Startup)
		}
		e.failBehaviour(u.Fail)
		e.cpuids(form >= 6, u.CPUIDs)
		e.int(u.Memory)
		e.bytes(u.Digest)
		e.blockInfos(form, u.Blocks)
		e.networkInfos(form, u.Networks)
		e.argv(2, u.Argv)
		if form >= 3 {
			e.explicit(3, func() { e.genTime(u.Started) })
		}
		if form >= 6 {
			e.explicit(4, func() { e.int(u.CPUs) })
			e.linuxBoot(5, u.LinuxBoot)
		}
	})
}

func (d *decoder) blockInfos(form int) (l []messages.BlockInfo) {
	element := d.blockInfo
	if form < 4 {
		element = d.oldBlockInfo
	}
	d.optional("blocks", 0, func() { l = list(d, "blocks", asn1.SET, element) })
	return l
}

func (e *encoder) blockInfos(form int, l []messages.BlockInfo) {
	element := func(i int) { e.blockInfo(&l[i]) }
	if form < 4 {
		element = func(i int) { e.oldBlockInfo(&l[i]) }
	}
	if len(l) > 0 {
		e.explicit(0, func() { e.setOf(len(l), element) })
	}
}

func (d *decoder) networkInfos(form int) (l []messages.NetworkInfo) {
	element := d.networkInfo
	if form < 4 {
		element = func() messages.NetworkInfo {
			n := d.network()
			return messages.NetworkInfo{Name: n.Name, Bridge: n.Bridge, MAC: n.MAC}
		}
	}
	d.optional("bridges", 1, func() { l = list(d, "bridges", asn1.SET, element) })
	return l
}

func (e *encoder) networkInfos(form int, l []messages.NetworkInfo) {
	element := func(i int) { e.networkInfo(&l[i]) }
	if form < 4 {
		element = func(i int) { e.network(&messages.Network{Name: l[i].Name, Bridge: l[i].Bridge, MAC: l[i].MAC}) }
	}
	if len(l) > 0 {
		e.explicit(1, func() { e.setOf(len(l), element) })
	}
}

// Newer forms require what older ones may omit: if it is unknown, they get the value that
// native programs assume.
//
// BlockInfo ::= SEQUENCE { name Str, device Str, sectorSize Int, size Int }

func (d *decoder) blockInfo() (b messages.BlockInfo) {
	d.seq("block device", func() {
		b.Name = d.str("name")
		b.Device = messages.Some(d.str("device"))
		b.SectorSize = messages.Some(d.int("sector size"))
		b.Size = d.int("size")
	})
	return b
}

func (e *encoder) blockInfo(b *messages.BlockInfo) {
	e.seq(func() {
		e.str(b.Name)
		e.str(b.HostDevice())
		e.int(b.SectorBytes())
		e.int(b.Size)
	})
}

// oldBlockInfo returns a BlockDev.
func (d *decoder) oldBlockInfo() messages.BlockInfo {
	b := d.blockDevice()
	return messages.BlockInfo{Name: b.Name, Device: b.Device, SectorSize: b.SectorSize}
}

func (e *encoder) oldBlockInfo(b *messages.BlockInfo) {
	e.blockDevice(&messages.BlockDevice{Name: b.Name, Device: b.Device, SectorSize: b.SectorSize})
}

// NetInfo ::= SEQUENCE { name Str, bridge Str, mac Mac }

func (d *decoder) networkInfo() (n messages.NetworkInfo) {
	d.seq("network device", func() {
		n.Name = d.str("name")
		n.Bridge = messages.Some(d.str("bridge"))
		n.MAC = messages.Some(d.mac("mac"))
	})
	return n
}

func (e *encoder) networkInfo(n *messages.NetworkInfo) {
	mac := n.Address()
	e.seq(func() {
		e.str(n.Name)
		e.str(n.HostBridge())
		e.bytes(mac[:])
	})
}
