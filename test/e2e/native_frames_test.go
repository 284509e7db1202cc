package e2e

import (
	"bytes"
	"compress/zlib"
	"encoding/hex"
	"fmt"
	"io"
	"strings"
	"time"

	"albatross/messages"
	"albatross/sockets/wire"
	"albatross/test/guests"
)

// moment stands for all times, and digest for all digests.
var (
	moment = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	digest = bytes.Repeat([]byte{0xd1}, 32)
)

// noMillis is in a time with nanoseconds, which are not decoded, but no milliseconds. Its encoding
// looks different.
var noMillis = []byte(".000Z")

// normal returns a frame in hex, without what differs each time.
func normal(frame []byte) string {
	m, err := wire.Decode(frame)
	if err != nil {
		return hex.EncodeToString(frame)
	}
	if again, err := wire.Append(nil, m); err != nil || !bytes.Equal(again, frame) && !bytes.Contains(frame, noMillis) {
		return fmt.Sprintf("%x, which is not encoded as usual", frame)
	}
	switch p := m.Payload.(type) {
	case messages.SuccessInfos:
		for i := range p.List {
			info := &p.List[i].Info
			info.Digest = digest
			info.Blocks = nil
			if !info.Started.IsZero() {
				info.Started = moment
			}
		}
	case messages.DataConsole:
		p.Time, p.Line = moment, ""
		m.Payload = p
	case messages.DataStats:
		m.Payload = unused(p)
	case messages.StatsAdd:
		p.PID = 1
		m.Payload = p
	case messages.SuccessImage:
		p.Image = unpack(p.Compressed, p.Image)
		m.Payload = p
	case messages.SuccessOldBlock:
		p.Data = unpack(p.Compressed, p.Data)
		m.Payload = p
	case messages.SuccessPolicies:
		if m.Header.Name == (messages.Name{}) && len(p.List) > 0 { // the policy of the machine
			p.List[0].Policy = messages.Policy{}
		}
	}
	b, err := wire.Append(nil, m)
	if err != nil {
		return err.Error()
	}
	return hex.EncodeToString(b)
}

// unused returns the statistics of something with the same interfaces that has done nothing.
func unused(s messages.DataStats) messages.DataStats {
	idle := messages.DataStats{KinfoMem: messages.Option[messages.KinfoMem]{OK: s.KinfoMem.OK}, VMM: s.VMM}
	for _, i := range s.IfData {
		idle.IfData = append(idle.IfData, messages.IfData{Device: i.Device, Flags: i.Flags, MTU: i.MTU})
	}
	return idle
}

// unpack returns decompressed data: each library compresses it in another way.
func unpack(compressed bool, data []byte) []byte {
	if !compressed {
		return data
	}
	z, err := zlib.NewReader(bytes.NewReader(data))
	if err != nil {
		return []byte(err.Error())
	}
	data, err = io.ReadAll(z)
	if err != nil {
		return []byte(err.Error())
	}
	return data
}

// summary returns the text of a frame, for the table of differences.
func summary(frame []byte) string {
	m, err := wire.Decode(frame)
	if err != nil {
		return err.Error()
	}
	switch p := m.Payload.(type) {
	case messages.Failure:
		return string(p.Text)
	case messages.SuccessText:
		return string(p.Text)
	case messages.SuccessInfos:
		return fmt.Sprintf("info-%d:%s", p.Form, each(p.List, infoSummary))
	case messages.SuccessConfigs:
		return "configs:" + each(p.List, configSummary)
	case messages.SuccessPolicies:
		return "policies:" + each(p.List, func(n messages.NamedPolicy) string { return n.Name.String() })
	case messages.SuccessConsoles:
		return "consoles:" + each(p.List, messages.Name.String)
	case messages.DataConsole:
		return fmt.Sprintf("line, old form: %t", p.Old)
	case messages.SuccessDump:
		return fmt.Sprintf("dump, compressed: %t", p.Compressed)
	case messages.DataBlock:
		return "contents: " + runs(unpack(p.Chunk.OK, p.Chunk.Value))
	}
	return fmt.Sprintf("%T", m.Payload)
}

func infoSummary(i messages.NamedInfo) string {
	return fmt.Sprintf("%s (%d MB, %d CPUs, boot %q)", i.Name, i.Info.Memory, i.Info.CPUs, i.Info.LinuxBoot.Value)
}

func configSummary(c messages.NamedConfig) string {
	return fmt.Sprintf("%s (hello: %t)", c.Name, bytes.Equal(c.Config.Image, guests.Image("hello", "spt")))
}

// runs shows data as how often each byte comes in a row.
func runs(data []byte) string {
	var all []string
	for len(data) > 0 {
		rest := bytes.TrimLeft(data, string(data[:1]))
		all = append(all, fmt.Sprintf("%d times %q", len(data)-len(rest), data[0]))
		data = rest
	}
	return strings.Join(all, ", ")
}

func each[T any](list []T, show func(T) string) (all string) {
	for _, x := range list {
		all += " " + show(x)
	}
	return all
}
