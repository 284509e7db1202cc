// Package influx converts statistics to InfluxDB's line protocol, and parses the address
// of a receiver, which need not be InfluxDB.
package influx

import (
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"

	"albatross/messages"
)

// A line of the line protocol is
//
//	measurement,tag=value,... field=value,...
//
// and ends in a newline. A field that ends in i is an integer, any other a float. Lines
// have no time: the database adds the time of arrival, since only it knows the configured
// precision.

// AppendLines appends the statistics of a unikernel, one line for each measurement. The
// names are those of native albatross, also odd ones ("maxflt" are the major faults).
func AppendLines(lines []byte, vm string, s messages.DataStats, now time.Time) []byte {
	lines = appendRusage(lines, vm, s.Rusage)
	if s.KinfoMem.OK {
		lines = appendKinfoMem(lines, vm, s.KinfoMem.Value, now)
	}
	if s.VMM.OK && len(s.VMM.Value) > 0 { // a line must have a field
		lines = appendCounters(lines, vm, s.VMM.Value)
	}
	for _, device := range s.IfData {
		lines = appendInterface(lines, vm, device)
	}
	return lines
}

func appendRusage(lines []byte, vm string, ru messages.Rusage) []byte {
	return begin(lines, "resource_usage", tag{"vm", vm}).
		seconds("utime", ru.UTime).
		seconds("stime", ru.STime).
		integer("maxrss", ru.MaxRSS).
		integer("ixrss", ru.IxRSS).
		integer("idrss", ru.IdRSS).
		integer("isrss", ru.IsRSS).
		integer("minflt", ru.MinFlt).
		integer("maxflt", ru.MajFlt).
		integer("nswap", ru.NSwap).
		integer("inblock", ru.InBlock).
		integer("outblock", ru.OutBlock).
		integer("msgsnd", ru.MsgSnd).
		integer("msgrcv", ru.MsgRcv).
		integer("nsignals", ru.NSignals).
		integer("nvcsw", ru.NVCSw).
		integer("nivcsw", ru.NIvCSw).
		end()
}

func appendKinfoMem(lines []byte, vm string, mem messages.KinfoMem, now time.Time) []byte {
	started := time.Unix(mem.Start.Seconds, int64(mem.Start.Microseconds)*int64(time.Microsecond))
	return begin(lines, "kinfo_mem", tag{"vm", vm}).
		integer("vsize", mem.VSize).
		integer("rss", mem.RSS).
		integer("tsize", mem.TSize).
		integer("dsize", mem.DSize).
		integer("ssize", mem.SSize).
		integer("cow_faults", int64(mem.Cow)).
		integer("runtime", mem.Runtime).
		float("uptime", now.Sub(started).Seconds()).
		end()
}

func appendCounters(lines []byte, vm string, counters []messages.Counter) []byte {
	l := begin(lines, "vmm", tag{"vm", vm})
	for _, c := range counters {
		l = l.integer(escaped(c.Name), c.Value)
	}
	return l.end()
}

func appendInterface(lines []byte, vm string, d messages.IfData) []byte {
	return begin(lines, "interface", tag{"vm", vm}, tag{"bridge", d.Device}).
		integer("send_queue_length", int64(d.SendLength)).
		integer("max_send_queue_length", int64(d.MaxSendLength)).
		integer("send_queue_drops", int64(d.SendDrops)).
		integer("mtu", int64(d.MTU)).
		integer("baudrate", d.Baudrate).
		integer("vm_to_host_packets", d.InputPackets).
		integer("vm_to_host_errors", d.InputErrors).
		integer("vm_to_host_bytes", d.InputBytes).
		integer("vm_to_host_mcast", d.InputMcast).
		integer("vm_to_host_dropped", d.InputDropped).
		integer("collisions", d.Collisions).
		integer("host_to_vm_packets", d.OutputPackets).
		integer("host_to_vm_errors", d.OutputErrors).
		integer("host_to_vm_bytes", d.OutputBytes).
		integer("host_to_vm_mcast", d.OutputMcast).
		integer("host_to_vm_dropped", d.OutputDropped).
		end()
}

// A line is one being written, after the lines before it.
type line struct {
	text  []byte
	comma byte // before the next field
}

type tag struct{ key, value string }

// begin begins a line. It omits a tag without a value, which the protocol does not allow.
func begin(lines []byte, measurement string, tags ...tag) line {
	lines = append(lines, measurement...)
	for _, t := range tags {
		if t.value != "" {
			lines = append(lines, ',')
			lines = append(lines, t.key...)
			lines = append(lines, '=')
			lines = append(lines, escaped(t.value)...)
		}
	}
	return line{text: lines, comma: ' '}
}

func (l line) field(key string) []byte {
	l.text = append(l.text, l.comma)
	l.text = append(l.text, key...)
	return append(l.text, '=')
}

func (l line) integer(key string, value int64) line {
	return line{append(strconv.AppendInt(l.field(key), value, 10), 'i'), ','}
}

func (l line) float(key string, value float64) line {
	return line{strconv.AppendFloat(l.field(key), value, 'f', 6, 64), ','}
}

func (l line) seconds(key string, t messages.Timeval) line {
	return line{fmt.Appendf(l.field(key), "%d.%06d", t.Seconds, t.Microseconds), ','}
}

func (l line) end() []byte { return append(l.text, '\n') }

var delimiters = strings.NewReplacer(",", `\,`, "=", `\=`, " ", `\ `)

// escaped returns a key or the value of a tag, with underscores for characters that would
// end the line, and for the backslash, which cannot be escaped.
func escaped(s string) string {
	return delimiters.Replace(strings.Map(func(r rune) rune {
		if r == '\\' || r == unicode.ReplacementChar || unicode.IsControl(r) {
			return '_'
		}
		return r
	}, s))
}
