package wire

import (
	"golang.org/x/crypto/cryptobyte/asn1"

	"albatross/messages"
)

// Success ::= CHOICE { [0] NULL, [1] Str, [2] SEQUENCE OF SEQUENCE { Name, Policy },
//   [3] SEQUENCE OF SEQUENCE { Name, Config2 },
//   [4] SEQUENCE OF SEQUENCE { Name, size Int, active BOOLEAN },
//   [5] SEQUENCE OF SEQUENCE { Name, Info2 }, [6] image Contents, [7] old block Contents,
//   [8] Infos of Info3, [9] Infos of Info4, [10] BOOLEAN, [11] Infos of Info5,
//   [12] SEQUENCE OF Name, [13] Infos of Info6 }

func (d *decoder) success() (s messages.Success) {
	d.choice("success", func(tag int) {
		switch tag {
		case 0:
			d.null()
			s = messages.SuccessEmpty{}
		case 1:
			s = messages.SuccessText{Text: messages.Public(d.str("text"))}
		case 2:
			s = messages.SuccessPolicies{List: list(d, "policies", asn1.SEQUENCE, d.namedPolicy)}
		case 3:
			d.only(until25)
			s = messages.SuccessConfigs{List: list(d, "unikernels", asn1.SEQUENCE, d.namedConfig)}
		case 4:
			s = messages.SuccessBlocks{List: list(d, "block devices", asn1.SEQUENCE, d.namedBlock)}
		case 5, 8, 9, 11, 13:
			s = d.infos(tag)
		case 6:
			s = d.image()
		case 7:
			s = d.oldBlock()
		case 10:
			s = messages.SuccessDump{Compressed: d.bool("compressed")}
		case 12:
			d.only(since26)
			s = messages.SuccessConsoles{List: d.names("consoles")}
		default:
			d.unknown(tag)
		}
	})
	return s
}

func (e *encoder) success(s messages.Success) {
	switch s := s.(type) {
	case messages.SuccessEmpty:
		e.explicit(0, e.null)
	case messages.SuccessText:
		e.explicit(1, func() { e.str(string(s.Text)) })
	case messages.SuccessPolicies:
		e.listOf(2, len(s.List), func(i int) { e.namedPolicy(s.List[i]) })
	case messages.SuccessConfigs:
		e.listOf(3, len(s.List), func(i int) { e.namedConfig(&s.List[i]) })
	case messages.SuccessBlocks:
		e.listOf(4, len(s.List), func(i int) { e.namedBlock(s.List[i]) })
	case messages.SuccessInfos:
		e.infos(s)
	case messages.SuccessImage:
		e.explicit(6, func() { e.contents(s.Compressed, s.Image) })
	case messages.SuccessOldBlock:
		e.explicit(7, func() { e.contents(s.Compressed, s.Data) })
	case messages.SuccessDump:
		e.explicit(10, func() { e.bool(s.Compressed) })
	case messages.SuccessConsoles:
		e.listOf(12, len(s.List), func(i int) { e.name(s.List[i]) })
	default:
		e.unknown(s)
	}
}

// listOf writes a tagged SEQUENCE OF.
func (e *encoder) listOf(tag, n int, element func(i int)) {
	e.explicit(tag, func() { e.seqOf(n, element) })
}

func (d *decoder) namedPolicy() (p messages.NamedPolicy) {
	d.seq("policy", func() {
		p.Name = d.name("name")
		p.Policy = d.policy()
	})
	return p
}

func (e *encoder) namedPolicy(p messages.NamedPolicy) {
	e.seq(func() {
		e.name(p.Name)
		e.policy(p.Policy)
	})
}

func (d *decoder) namedConfig() (c messages.NamedConfig) {
	d.seq("unikernel", func() {
		c.Name = d.name("name")
		c.Config = d.config(2)
	})
	return c
}

func (e *encoder) namedConfig(c *messages.NamedConfig) {
	e.seq(func() {
		e.name(c.Name)
		e.config(2, &c.Config)
	})
}

func (d *decoder) namedBlock() (b messages.NamedBlock) {
	d.seq("block device", func() {
		b.Name = d.name("name")
		b.Size = d.int("size")
		b.Active = d.bool("active")
	})
	return b
}

func (e *encoder) namedBlock(b messages.NamedBlock) {
	e.seq(func() {
		e.name(b.Name)
		e.int(b.Size)
		e.bool(b.Active)
	})
}

// successForms are the forms of answers to info; the first is form 2, since the answer of
// form 1 is a list of configurations.
var successForms = [...]form{
	{5, until25}, {8, until25}, {9, anyDialect}, {11, since26}, {13, since26},
}

func (d *decoder) infos(tag int) messages.SuccessInfos {
	s := messages.SuccessInfos{Form: 1 + d.formOf(successForms[:], tag)}
	s.List = list(d, "unikernels", asn1.SEQUENCE, func() (u messages.NamedInfo) {
		d.seq("unikernel", func() {
			u.Name = d.name("name")
			u.Info = d.info(s.Form)
		})
		return u
	})
	return s
}

func (e *encoder) infos(s messages.SuccessInfos) {
	e.listOf(e.tagOf(successForms[:], s.Form-1), len(s.List), func(i int) {
		e.seq(func() {
			e.name(s.List[i].Name)
			e.info(s.Form, &s.List[i].Info)
		})
	})
}

func (d *decoder) image() (s messages.SuccessImage) {
	s.Compressed, s.Image = d.contents("image")
	return s
}

func (d *decoder) oldBlock() (s messages.SuccessOldBlock) {
	s.Compressed, s.Data = d.contents("data")
	return s
}

func (d *decoder) names(what string) []messages.Name {
	return list(d, what, asn1.SEQUENCE, func() messages.Name { return d.name("name") })
}
