package main

import (
	"fmt"
	"strings"
	"time"

	"albatross/messages"
)

// statsText shows statistics as native does, but with the name.
func statsText(name messages.Name, s messages.DataStats) string {
	lines := []string{fmt.Sprintf("stats %s: %s", nameText(name), rusageText(s.Rusage)), "no kinfo_mem stats", "no vmm stats"}
	if s.KinfoMem.OK {
		lines[1] = memoryText(s.KinfoMem.Value)
	}
	if s.VMM.OK {
		lines[2] = joined(s.VMM.Value, "\n", func(c messages.Counter) string { return fmt.Sprintf("%s: %d", escape(c.Name), c.Value) })
	}
	return strings.Join(append(lines, joined(s.IfData, "\n\n", countersText)), "\n")
}

// A column is one number, with its name in a text and in JSON. Native takes most for
// unsigned.
type column struct {
	name  string
	value uint64
}

func columns(list []column) string {
	return joined(list, " ", func(c column) string { return fmt.Sprintf("%s %d", c.name, c.value) })
}

func rusageText(r messages.Rusage) string {
	return fmt.Sprintf("utime %s stime %s %s", timevalText(r.UTime), timevalText(r.STime), columns(rusageColumns(r)))
}

func rusageColumns(r messages.Rusage) []column {
	return []column{
		{"maxrss", uint64(r.MaxRSS)}, {"ixrss", uint64(r.IxRSS)}, {"idrss", uint64(r.IdRSS)}, {"isrss", uint64(r.IsRSS)},
		{"minflt", uint64(r.MinFlt)}, {"majflt", uint64(r.MajFlt)}, {"nswap", uint64(r.NSwap)},
		{"inblock", uint64(r.InBlock)}, {"outblock", uint64(r.OutBlock)},
		{"msgsnd", uint64(r.MsgSnd)}, {"msgrcv", uint64(r.MsgRcv)}, {"signals", uint64(r.NSignals)},
		{"nvcsw", uint64(r.NVCSw)}, {"nivcsw", uint64(r.NIvCSw)},
	}
}

func memoryText(m messages.KinfoMem) string {
	return fmt.Sprintf("%s cow %d start %s", columns(memoryColumns(m)), m.Cow, timevalText(m.Start))
}

func memoryColumns(m messages.KinfoMem) []column {
	return []column{
		{"virtual-size", uint64(m.VSize)}, {"rss", uint64(m.RSS)}, {"text-size", uint64(m.TSize)},
		{"data-size", uint64(m.DSize)}, {"stack-size", uint64(m.SSize)}, {"runtime", uint64(m.Runtime)},
	}
}

func timevalText(t messages.Timeval) string {
	return fmt.Sprintf("%d.%06d", uint64(t.Seconds), t.Microseconds)
}

func countersText(i messages.IfData) string {
	return fmt.Sprintf("bridge %s flags %X %s", escape(i.Device), i.Flags, columns(interfaceColumns(i)))
}

func interfaceColumns(i messages.IfData) []column {
	return []column{
		{"send_length", uint64(i.SendLength)}, {"max_send_length", uint64(i.MaxSendLength)},
		{"send_drops", uint64(i.SendDrops)}, {"mtu", uint64(i.MTU)}, {"baudrate", uint64(i.Baudrate)},
		{"input_packets", uint64(i.InputPackets)}, {"input_errors", uint64(i.InputErrors)},
		{"output_packets", uint64(i.OutputPackets)}, {"output_errors", uint64(i.OutputErrors)},
		{"collisions", uint64(i.Collisions)},
		{"input_bytes", uint64(i.InputBytes)}, {"output_bytes", uint64(i.OutputBytes)},
		{"input_mcast", uint64(i.InputMcast)}, {"output_mcast", uint64(i.OutputMcast)},
		{"input_dropped", uint64(i.InputDropped)}, {"output_dropped", uint64(i.OutputDropped)},
	}
}

// A statsObject is the statistics of a unikernel in JSON. The names of its members, and
// of those of the objects in it, do not change.
type statsObject struct {
	Name       string           `json:"name"`
	Rusage     map[string]any   `json:"rusage"`
	Memory     map[string]any   `json:"memory,omitempty"`
	VMM        map[string]int64 `json:"vmm,omitempty"`
	Interfaces []map[string]any `json:"interfaces"`
}

func statsJSON(name messages.Name, s messages.DataStats) string {
	o := statsObject{Name: name.String(), Rusage: members(rusageColumns(s.Rusage)), Interfaces: []map[string]any{}}
	o.Rusage["utime"], o.Rusage["stime"] = microseconds(s.Rusage.UTime), microseconds(s.Rusage.STime)
	if m := s.KinfoMem.Value; s.KinfoMem.OK {
		start := time.Unix(m.Start.Seconds, int64(m.Start.Microseconds)*1000).UTC()
		o.Memory = members(memoryColumns(m))
		o.Memory["start"] = start.Format("2006-01-02T15:04:05.000000Z")
	}
	if s.VMM.OK {
		o.VMM = map[string]int64{}
	}
	for _, c := range s.VMM.Value {
		o.VMM[c.Name] = c.Value
	}
	for _, i := range s.IfData {
		counters := members(interfaceColumns(i))
		counters["device"], counters["flags"] = i.Device, i.Flags
		o.Interfaces = append(o.Interfaces, counters)
	}
	return asciiJSON(o)
}

func microseconds(t messages.Timeval) int64 {
	return t.Seconds*int64(time.Second/time.Microsecond) + int64(t.Microseconds)
}

func members(columns []column) map[string]any {
	all := make(map[string]any, len(columns)+2)
	for _, c := range columns {
		all[c.name] = c.value
	}
	return all
}
