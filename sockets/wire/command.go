package wire

import (
	"fmt"

	"golang.org/x/crypto/cryptobyte/asn1"

	"albatross/messages"
)

// Command ::= CHOICE { [0] ConsoleCmd, [1] StatsCmd, [2] NULL (dropped),
//   [3] UnikernelCmd, [4] PolicyCmd, [5] BlockCmd }

func (d *decoder) command() (c messages.Command) {
	d.choice("command", func(tag int) {
		switch tag {
		case 0:
			c = d.consoleCmd()
		case 1:
			c = d.statsCmd()
		case 2:
			d.dropped("log command")
		case 3:
			c = d.unikernelCmd()
		case 4:
			c = d.policyCmd()
		case 5:
			c = d.blockCmd()
		default:
			d.unknown(tag)
		}
	})
	return c
}

func (e *encoder) command(c messages.Command) {
	switch c.(type) {
	case messages.ConsoleAdd, messages.ConsoleSubscribe, messages.ConsoleListInactive:
		e.explicit(0, func() { e.consoleCmd(c) })
	case messages.StatsAdd, messages.StatsRemove, messages.StatsSubscribe, messages.StatsInitial:
		e.explicit(1, func() { e.statsCmd(c) })
	case messages.UnikernelInfo, messages.UnikernelCreate, messages.UnikernelDestroy,
		messages.UnikernelRestart, messages.UnikernelGet:
		e.explicit(3, func() { e.unikernelCmd(c) })
	case messages.PolicyInfo, messages.PolicyAdd, messages.PolicyRemove:
		e.explicit(4, func() { e.policyCmd(c) })
	case messages.BlockList, messages.BlockAdd, messages.BlockRemove, messages.BlockOldAdd,
		messages.BlockOldSet, messages.BlockOldDump, messages.BlockDump, messages.BlockSet:
		e.explicit(5, func() { e.blockCmd(c) })
	default:
		e.unknown(c)
	}
}

// ConsoleCmd ::= CHOICE { [0] add NULL or Int, [1] old-subscribe, [2] subscribe,
//   [3] list-inactive NULL }

func (d *decoder) consoleCmd() (c messages.Command) {
	d.choice("console command", func(tag int) {
		switch tag {
		case 0:
			c = d.consoleAdd()
		case 1:
			d.only(until25)
			c = d.subscription(true)
		case 2:
			c = d.subscription(false)
		case 3:
			d.only(since26)
			d.null()
			c = messages.ConsoleListInactive{}
		default:
			d.unknown(tag)
		}
	})
	return c
}

func (e *encoder) consoleCmd(c messages.Command) {
	switch c := c.(type) {
	case messages.ConsoleAdd:
		e.explicit(0, func() { e.consoleAdd(c) })
	case messages.ConsoleSubscribe:
		if c.Old {
			e.explicit(1, func() { e.subscription(c) })
		} else {
			e.explicit(2, func() { e.subscription(c) })
		}
	case messages.ConsoleListInactive:
		e.explicit(3, e.null)
	}
}

func (d *decoder) consoleAdd() (c messages.ConsoleAdd) {
	if d.at(asn1.INTEGER) {
		d.only(since26)
		c.Max = messages.Some(d.int("maximum"))
		return c
	}
	d.only(until25)
	d.null()
	return c
}

func (e *encoder) consoleAdd(c messages.ConsoleAdd) {
	if c.Max.OK {
		e.int(c.Max.Value)
	} else {
		e.null()
	}
}

// Subscription ::= CHOICE { [0] GenTime or (old) UtcTime, [1] Int }

func (d *decoder) subscription(old bool) messages.ConsoleSubscribe {
	c := messages.ConsoleSubscribe{Old: old}
	d.choice("subscription", func(tag int) {
		switch tag {
		case 0:
			if old {
				c.Since = messages.Some(d.utcTime("since"))
			} else {
				c.Since = messages.Some(d.genTime("since"))
			}
		case 1:
			c.Count = messages.Some(d.int("count"))
		default:
			d.unknown(tag)
		}
	})
	return c
}

func (e *encoder) subscription(c messages.ConsoleSubscribe) {
	switch {
	case c.Since.OK && c.Old:
		e.explicit(0, func() { e.utcTime(c.Since.Value) })
	case c.Since.OK:
		e.explicit(0, func() { e.genTime(c.Since.Value) })
	default:
		e.explicit(1, func() { e.int(c.Count.Value) })
	}
}

// StatsCmd ::= CHOICE { [0] add StatsAdd, [1] remove, [2] subscribe, [3] initial: NULL }

func (d *decoder) statsCmd() (c messages.Command) {
	d.choice("stats command", func(tag int) {
		switch tag {
		case 0:
			c = d.statsAdd()
		case 1:
			d.null()
			c = messages.StatsRemove{}
		case 2:
			d.null()
			c = messages.StatsSubscribe{}
		case 3:
			d.null()
			c = messages.StatsInitial{}
		default:
			d.unknown(tag)
		}
	})
	return c
}

func (e *encoder) statsCmd(c messages.Command) {
	switch c := c.(type) {
	case messages.StatsAdd:
		e.explicit(0, func() { e.statsAdd(c) })
	case messages.StatsRemove:
		e.explicit(1, e.null)
	case messages.StatsSubscribe:
		e.explicit(2, e.null)
	case messages.StatsInitial:
		e.explicit(3, e.null)
	}
}

// StatsAdd ::= SEQUENCE { vmmdev Str, pid Int,
//   network SEQUENCE OF SEQUENCE { device Str, tap Str } }

func (d *decoder) statsAdd() (c messages.StatsAdd) {
	d.seq("stats add", func() {
		c.VMMDev = d.str("vmmdev")
		c.PID = d.int("pid")
		c.Taps = list(d, "network", asn1.SEQUENCE, d.tap)
	})
	return c
}

func (e *encoder) statsAdd(c messages.StatsAdd) {
	e.seq(func() {
		e.str(c.VMMDev)
		e.int(c.PID)
		e.seqOf(len(c.Taps), func(i int) { e.tap(c.Taps[i]) })
	})
}

func (d *decoder) tap() (t messages.Tap) {
	d.seq("network device", func() {
		t.Device = d.str("device")
		t.Tap = d.str("tap")
	})
	return t
}

func (e *encoder) tap(t messages.Tap) {
	e.seq(func() {
		e.str(t.Device)
		e.str(t.Tap)
	})
}

// UnikernelCmd ::= CHOICE {
//   [0] info-1 NULL,      [1] create Config1,  [2] force-create Config1,
//   [3] destroy NULL,     [4] create Config2,  [5] force-create Config2,
//   [6] get-1 NULL,       [7] info-2 NULL,     [8] get-2 NULL,
//                         [9] create Config3, [10] force-create Config3,
//  [11] get Int,         [12] restart-1 NULL, [13] info-3 NULL,
//  [14] restart Restart, [15] info-4 NULL,
//                        [16] create Config4, [17] force-create Config4,
//  [18] info-5 NULL,     [19] info-6 NULL,
//                        [20] create Config5, [21] force-create Config5 }

func (d *decoder) unikernelCmd() (c messages.Command) {
	d.choice("unikernel command", func(tag int) {
		switch tag {
		case 0, 7, 13, 15, 18, 19:
			c = d.unikernelInfo(tag)
		case 1, 2, 4, 5, 9, 10, 16, 17, 20, 21:
			c = d.unikernelCreate(tag)
		case 3:
			d.null()
			c = messages.UnikernelDestroy{}
		case 6, 8, 11:
			c = d.unikernelGet(tag)
		case 12:
			d.only(until25)
			d.null()
			c = messages.UnikernelRestart{Form: messages.RestartOld}
		case 14:
			c = d.restart()
		default:
			d.unknown(tag)
		}
	})
	return c
}

func (e *encoder) unikernelCmd(c messages.Command) {
	switch c := c.(type) {
	case messages.UnikernelInfo:
		e.unikernelInfo(c)
	case messages.UnikernelCreate:
		e.unikernelCreate(c)
	case messages.UnikernelDestroy:
		e.explicit(3, e.null)
	case messages.UnikernelGet:
		e.unikernelGet(c)
	case messages.UnikernelRestart:
		if c.Form == messages.RestartOld {
			e.explicit(12, e.null)
		} else {
			e.explicit(14, func() { e.restart(c) })
		}
	}
}

// A form is one of the tags of the same command or answer.
type form struct {
	tag  int
	said dialect
}

// infoForms are the forms of the info command; the first is form 1.
var infoForms = [...]form{
	{0, until25}, {7, until25}, {13, until25}, {15, anyDialect}, {18, since26}, {19, since26},
}

// createForms are the forms of the create command; the first is form 1. The tag
// of a forced create is one more.
var createForms = [...]form{
	{1, until25}, {4, until25}, {9, anyDialect}, {16, since26}, {20, since26},
}

// getForms are the forms of the get command; the first is form 1.
var getForms = [...]form{{6, until25}, {8, until25}, {11, anyDialect}}

// formOf returns the number of the form with this tag, from 1 on.
func (d *decoder) formOf(forms []form, tag int) int {
	for i, f := range forms {
		if f.tag == tag {
			d.only(f.said)
			return i + 1
		}
	}
	d.unknown(tag)
	return 0
}

// tagOf returns the tag of a form.
func (e *encoder) tagOf(forms []form, number int) int {
	if number < 1 || number > len(forms) {
		e.fail(fmt.Errorf("internal error: there is no form %d of this message", number))
		return 0
	}
	return forms[number-1].tag
}

func (d *decoder) unikernelInfo(tag int) messages.UnikernelInfo {
	d.null()
	return messages.UnikernelInfo{Form: d.formOf(infoForms[:], tag)}
}

func (e *encoder) unikernelInfo(c messages.UnikernelInfo) {
	e.explicit(e.tagOf(infoForms[:], c.Form), e.null)
}

func (d *decoder) unikernelCreate(tag int) (c messages.UnikernelCreate) {
	switch tag {
	case 2, 5, 10, 17, 21:
		c.Force = true
		tag--
	}
	c.Form = d.formOf(createForms[:], tag)
	c.Config = d.config(c.Form)
	return c
}

func (e *encoder) unikernelCreate(c messages.UnikernelCreate) {
	tag := e.tagOf(createForms[:], c.Form)
	if c.Force {
		tag++
	}
	e.explicit(tag, func() { e.config(c.Form, &c.Config) })
}

func (d *decoder) unikernelGet(tag int) messages.UnikernelGet {
	c := messages.UnikernelGet{Form: d.formOf(getForms[:], tag)}
	if tag == 11 {
		c.Level = d.int("level")
	} else {
		d.null()
	}
	return c
}

func (e *encoder) unikernelGet(c messages.UnikernelGet) {
	tag := e.tagOf(getForms[:], c.Form)
	if tag == 11 {
		e.explicit(tag, func() { e.int(c.Level) })
	} else {
		e.explicit(tag, e.null)
	}
}

// Restart ::= CHOICE { [0] NULL, [1] Args0, [2] Args1, [3] Args2 }

func (d *decoder) restart() (c messages.UnikernelRestart) {
	d.choice("restart", func(tag int) {
		switch tag {
		case 0:
			d.null()
			c.Form = messages.RestartSame
			return
		case 1:
			c.Form = messages.RestartArgs0
		case 2:
			d.only(since26)
			c.Form = messages.RestartArgs1
		case 3:
			d.only(since26)
			c.Form = messages.RestartArgs2
		default:
			d.unknown(tag)
		}
		c.Args = messages.Some(d.arguments(c.Form))
	})
	return c
}

func (e *encoder) restart(c messages.UnikernelRestart) {
	switch c.Form {
	case messages.RestartSame:
		e.explicit(0, e.null)
	case messages.RestartArgs0:
		e.explicit(1, func() { e.arguments(c.Form, &c.Args.Value) })
	case messages.RestartArgs1:
		e.explicit(2, func() { e.arguments(c.Form, &c.Args.Value) })
	case messages.RestartArgs2:
		e.explicit(3, func() { e.arguments(c.Form, &c.Args.Value) })
	default:
		e.fail(fmt.Errorf("internal error: there is no form %d of restart", c.Form))
	}
}

// PolicyCmd ::= CHOICE { [0] info NULL, [1] add Policy, [2] remove NULL }

func (d *decoder) policyCmd() (c messages.Command) {
	d.choice("policy command", func(tag int) {
		switch tag {
		case 0:
			d.null()
			c = messages.PolicyInfo{}
		case 1:
			c = messages.PolicyAdd{Policy: d.policy()}
		case 2:
			d.null()
			c = messages.PolicyRemove{}
		default:
			d.unknown(tag)
		}
	})
	return c
}

func (e *encoder) policyCmd(c messages.Command) {
	switch c := c.(type) {
	case messages.PolicyInfo:
		e.explicit(0, e.null)
	case messages.PolicyAdd:
		e.explicit(1, func() { e.policy(c.Policy) })
	case messages.PolicyRemove:
		e.explicit(2, e.null)
	}
}

// Policy ::= SEQUENCE { cpuids SEQUENCE OF Int, unikernels Int, memory Int,
//   block Int OPTIONAL, bridges SEQUENCE OF Str }
//
// Both lists stand for sets, and are written in ascending order.

func (d *decoder) policy() (p messages.Policy) {
	d.seq("policy", func() {
		p.CPUIDs = d.ints("cpuids", asn1.SEQUENCE)
		p.Unikernels = d.int("unikernels")
		p.Memory = d.int("memory")
		p.Block = d.optInt("block")
		p.Bridges = sorted(d.strs("bridges"))
	})
	return p
}

func (e *encoder) policy(p messages.Policy) {
	cpuids, bridges := sorted(p.CPUIDs), sorted(p.Bridges)
	e.seq(func() {
		e.seqOf(len(cpuids), func(i int) { e.int(cpuids[i]) })
		e.int(p.Unikernels)
		e.int(p.Memory)
		e.optInt(p.Block)
		e.strs(bridges)
	})
}

// BlockCmd ::= CHOICE { [0] info NULL, [1] add Int, [2] remove NULL, [3] old-add BlockOldAdd,
//   [4] old-set BlockOldSet, [5] old-dump Int, [6] dump Int, [7] set BOOLEAN }

func (d *decoder) blockCmd() (c messages.Command) {
	d.choice("block command", func(tag int) {
		switch tag {
		case 0:
			d.null()
			c = messages.BlockList{}
		case 1:
			c = messages.BlockAdd{Size: d.int("size")}
		case 2:
			d.null()
			c = messages.BlockRemove{}
		case 3:
			c = d.blockOldAdd()
		case 4:
			c = d.blockOldSet()
		case 5:
			c = messages.BlockOldDump{Level: d.int("level")}
		case 6:
			c = messages.BlockDump{Level: d.int("level")}
		case 7:
			c = messages.BlockSet{Compressed: d.bool("compressed")}
		default:
			d.unknown(tag)
		}
	})
	return c
}

func (e *encoder) blockCmd(c messages.Command) {
	switch c := c.(type) {
	case messages.BlockList:
		e.explicit(0, e.null)
	case messages.BlockAdd:
		e.explicit(1, func() { e.int(c.Size) })
	case messages.BlockRemove:
		e.explicit(2, e.null)
	case messages.BlockOldAdd:
		e.explicit(3, func() { e.blockOldAdd(c) })
	case messages.BlockOldSet:
		e.explicit(4, func() { e.contents(c.Compressed, c.Data) })
	case messages.BlockOldDump:
		e.explicit(5, func() { e.int(c.Level) })
	case messages.BlockDump:
		e.explicit(6, func() { e.int(c.Level) })
	case messages.BlockSet:
		e.explicit(7, func() { e.bool(c.Compressed) })
	}
}

// BlockOldAdd ::= SEQUENCE { size Int, compressed BOOLEAN, data Bytes OPTIONAL }

func (d *decoder) blockOldAdd() (c messages.BlockOldAdd) {
	d.seq("old block add", func() {
		c.Size = d.int("size")
		c.Compressed = d.bool("compressed")
		if d.at(asn1.OCTET_STRING) {
			c.Data = messages.Some(d.octets("data"))
		}
	})
	return c
}

func (e *encoder) blockOldAdd(c messages.BlockOldAdd) {
	e.seq(func() {
		e.int(c.Size)
		e.bool(c.Compressed)
		if c.Data.OK {
			e.large(c.Data.Value)
		}
	})
}

func (d *decoder) blockOldSet() (c messages.BlockOldSet) {
	c.Compressed, c.Data = d.contents("data")
	return c
}

// Contents ::= SEQUENCE { compressed BOOLEAN, data Bytes }

func (d *decoder) contents(what string) (compressed bool, data []byte) {
	d.seq("contents", func() {
		compressed = d.bool("compressed")
		data = d.octets(what)
	})
	return compressed, data
}

func (e *encoder) contents(compressed bool, data []byte) {
	e.seq(func() {
		e.bool(compressed)
		e.large(data)
	})
}
