package wirejson

import (
	"fmt"

	"albatross/messages"
)

// success shows a positive answer: its type, and its fields beside it.
func success(s messages.Success) object {
	switch s := s.(type) {
	case messages.SuccessEmpty:
		return object{"type": "empty"}
	case messages.SuccessText:
		return object{"type": "string", "text": text(string(s.Text))}
	case messages.SuccessPolicies:
		return object{"type": "policies", "list": each(s.List, namedPolicy)}
	case messages.SuccessConfigs:
		return object{"type": "unikernels", "list": each(s.List, namedConfig)}
	case messages.SuccessBlocks:
		return object{"type": "block-devices", "list": each(s.List, namedBlock)}
	case messages.SuccessInfos:
		return object{"type": "unikernel-info", "list": each(s.List, namedInfo)}
	case messages.SuccessImage:
		return object{"type": "unikernel-image", "compressed": s.Compressed, "image_hex": octets(s.Image)}
	case messages.SuccessOldBlock:
		return object{"type": "old-block-image", "compressed": s.Compressed, "image_hex": octets(s.Data)}
	case messages.SuccessDump:
		return object{"type": "block-dump", "compressed": s.Compressed}
	case messages.SuccessConsoles:
		return object{"type": "consoles", "list": each(s.List, name)}
	}
	return object{"type": fmt.Sprintf("%T", s)}
}

func namedPolicy(p messages.NamedPolicy) any {
	return object{"name": name(p.Name), "policy": policy(p.Policy)}
}

func namedConfig(c messages.NamedConfig) any {
	return object{"name": name(c.Name), "config": config(c.Config)}
}

func namedBlock(b messages.NamedBlock) any {
	return object{"name": name(b.Name), "size": b.Size, "active": b.Active}
}

func namedInfo(u messages.NamedInfo) any {
	return object{"name": name(u.Name), "info": info(u.Info)}
}

// data shows a part of a stream.
func data(p messages.Data) object {
	switch p := p.(type) {
	case messages.DataConsole:
		return object{"type": "console", "old": p.Old, "time": moment(p.Time), "line": text(p.Line)}
	case messages.DataStats:
		return object{
			"type":      "stats",
			"rusage":    rusage(p.Rusage),
			"ifdata":    each(p.IfData, ifData),
			"vmm":       option(p.VMM, counters),
			"kinfo_mem": option(p.KinfoMem, kinfoMem),
		}
	case messages.DataBlock:
		return object{"type": "block", "chunk_hex": option(p.Chunk, octets)}
	}
	return object{"type": fmt.Sprintf("%T", p)}
}

func timeval(t messages.Timeval) any {
	return object{"sec": t.Seconds, "usec": t.Microseconds}
}

func rusage(r messages.Rusage) any {
	return object{
		"utime": timeval(r.UTime), "stime": timeval(r.STime),
		"maxrss": r.MaxRSS, "ixrss": r.IxRSS, "idrss": r.IdRSS, "isrss": r.IsRSS,
		"minflt": r.MinFlt, "majflt": r.MajFlt, "nswap": r.NSwap,
		"inblock": r.InBlock, "outblock": r.OutBlock,
		"msgsnd": r.MsgSnd, "msgrcv": r.MsgRcv, "nsignals": r.NSignals,
		"nvcsw": r.NVCSw, "nivcsw": r.NIvCSw,
	}
}

func counters(l []messages.Counter) any {
	return each(l, func(c messages.Counter) any {
		return object{"key": text(c.Name), "value": c.Value}
	})
}

func kinfoMem(k messages.KinfoMem) any {
	return object{
		"vsize": k.VSize, "rss": k.RSS, "tsize": k.TSize, "dsize": k.DSize, "ssize": k.SSize,
		"runtime": k.Runtime, "cow": k.Cow, "start": timeval(k.Start),
	}
}

// ifData shows the device under the name that native has for it, which is wrong.
// Native shows 32 bits as a signed number.
func ifData(n messages.IfData) any {
	return object{
		"bridge": text(n.Device),
		"flags":  int32(n.Flags), "send_length": int32(n.SendLength),
		"max_send_length": int32(n.MaxSendLength), "send_drops": int32(n.SendDrops),
		"mtu": int32(n.MTU), "baudrate": n.Baudrate,
		"input_packets": n.InputPackets, "input_errors": n.InputErrors,
		"output_packets": n.OutputPackets, "output_errors": n.OutputErrors,
		"collisions":  n.Collisions,
		"input_bytes": n.InputBytes, "output_bytes": n.OutputBytes,
		"input_mcast": n.InputMcast, "output_mcast": n.OutputMcast,
		"input_dropped": n.InputDropped, "output_dropped": n.OutputDropped,
	}
}
