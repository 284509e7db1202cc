package wirejson

import (
	"fmt"

	"albatross/messages"
)

// command shows a command: its type, and its fields beside it.
func command(c messages.Command) object {
	switch c := c.(type) {
	case messages.ConsoleAdd:
		return object{"type": "console-add", "max": option(c.Max, same[int])}
	case messages.ConsoleSubscribe:
		return object{"type": "console-subscribe", "old": c.Old,
			"since": option(c.Since, moment), "count": option(c.Count, same[int])}
	case messages.ConsoleListInactive:
		return object{"type": "console-list-inactive"}
	case messages.StatsAdd:
		return object{"type": "stats-add", "vmmdev": text(c.VMMDev), "pid": c.PID, "taps": each(c.Taps, tap)}
	case messages.StatsRemove:
		return object{"type": "stats-remove"}
	case messages.StatsSubscribe:
		return object{"type": "stats-subscribe"}
	case messages.StatsInitial:
		return object{"type": "stats-initial"}
	case messages.PolicyInfo:
		return object{"type": "policy-info"}
	case messages.PolicyAdd:
		return object{"type": "policy-add", "policy": policy(c.Policy)}
	case messages.PolicyRemove:
		return object{"type": "policy-remove"}
	}
	if o := unikernelCommand(c); o != nil {
		return o
	}
	return blockCommand(c)
}

func unikernelCommand(c messages.Command) object {
	switch c := c.(type) {
	case messages.UnikernelInfo:
		return object{"type": "unikernel-info", "form": c.Form}
	case messages.UnikernelCreate:
		return object{"type": "unikernel-create", "force": c.Force, "config": config(c.Config)}
	case messages.UnikernelDestroy:
		return object{"type": "unikernel-destroy"}
	case messages.UnikernelRestart:
		return object{"type": "unikernel-restart", "args": option(c.Args, arguments)}
	case messages.UnikernelGet:
		if c.Form == 1 {
			return object{"type": "unikernel-get-1"}
		}
		return object{"type": "unikernel-get", "level": c.Level}
	}
	return nil
}

func blockCommand(c messages.Command) object {
	switch c := c.(type) {
	case messages.BlockList:
		return object{"type": "block-info"}
	case messages.BlockAdd:
		return object{"type": "block-add", "size": c.Size}
	case messages.BlockRemove:
		return object{"type": "block-remove"}
	case messages.BlockOldAdd:
		return object{"type": "block-old-add", "size": c.Size, "compressed": c.Compressed,
			"data_hex": option(c.Data, octets)}
	case messages.BlockOldSet:
		return object{"type": "block-old-set", "compressed": c.Compressed, "data_hex": octets(c.Data)}
	case messages.BlockOldDump:
		return object{"type": "block-old-dump", "level": c.Level}
	case messages.BlockDump:
		return object{"type": "block-dump", "level": c.Level}
	case messages.BlockSet:
		return object{"type": "block-set", "compressed": c.Compressed}
	}
	return object{"type": fmt.Sprintf("%T", c)}
}

// tap shows the device under the name that native has for it, which is wrong.
func tap(t messages.Tap) any { return object{"bridge": text(t.Device), "tap": text(t.Tap)} }

func policy(p messages.Policy) any {
	return object{
		"unikernels": p.Unikernels,
		"cpuids":     ints(p.CPUIDs),
		"memory":     p.Memory,
		"block":      option(p.Block, same[int]),
		"bridges":    texts(p.Bridges),
	}
}
