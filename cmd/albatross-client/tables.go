package main

import (
	"encoding/hex"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"albatross/messages"
)

// The numbers of colours, as in ECMA-48.
const (
	red    = 31
	green  = 32
	yellow = 33
)

// unikernelTable lists unikernels as of now.
func unikernelTable(list []messages.UnikernelStatus, now time.Time, coloured bool) table {
	const state, cpu, restarts, image = 1, 3, 5, 7
	t := table{rows: [][]string{{"NAME", "STATE", "SINCE", "CPU", "MEMORY", "RESTARTS", "NETWORKS", "IMAGE"}}, least: []int{image, restarts, cpu}}
	for _, s := range list {
		t.rows = append(t.rows, []string{
			shortName(s.Name), stateText(s, now), sinceText(s, now), usedCPU(s), memoryUse(s), strconv.Itoa(restartsOf(s)), networksText(s), imageText(s.Digest),
		})
	}
	if coloured {
		t.colour = func(row, column int) int {
			if row == 0 || column != state {
				return 0
			}
			return stateColour(list[row-1])
		}
	}
	return t
}

func stateColour(s messages.UnikernelStatus) int {
	switch s.State {
	case messages.StateRunning:
		switch s.Health.State {
		case messages.Unhealthy:
			return red
		case messages.HealthChecking:
			return yellow
		}
		return green
	case messages.StateStarting, messages.StateRestarting, messages.StateWaiting:
		return yellow
	}
	return red
}

// stateText returns a state, and what one wants to know about it.
func stateText(s messages.UnikernelStatus, now time.Time) string {
	switch s.State {
	case messages.StateRestarting:
		return "restarting in " + forHumans(s.Wait.Value.Until.Sub(now).Round(time.Second))
	case messages.StateEnded:
		return "ended, " + s.End.Value.Exit.String()
	case messages.StateRunning:
		if s.Health.State == messages.HealthChecking || s.Health.State == messages.Unhealthy {
			return escape(string(s.State) + ", " + string(s.Health.State))
		}
	}
	return escape(string(s.State))
}

// since returns since when a unikernel is in its state; zero: unknown.
func since(s messages.UnikernelStatus) time.Time {
	switch {
	case !s.Stopped.IsZero():
		return s.Stopped
	case s.Wait.OK:
		return s.Wait.Value.Since
	case s.State == messages.StateEnded && s.End.Value.AtMillis != 0:
		return time.UnixMilli(s.End.Value.AtMillis)
	case s.State == messages.StateEnded:
		return time.Time{}
	}
	return s.Started
}

func sinceText(s messages.UnikernelStatus, now time.Time) string {
	if t := since(s); !t.IsZero() {
		return forHumans(now.Sub(t))
	}
	return "-"
}

func usedCPU(s messages.UnikernelStatus) string {
	if !s.Used.OK {
		return "-"
	}
	return cpuText(s.Used.Value.CPU)
}

func memoryUse(s messages.UnikernelStatus) string {
	switch allowed := megabytesText(s.Arguments.Memory); {
	case s.Arguments.Memory == 0:
		return "-"
	case s.Used.OK:
		return bytesText(s.Used.Value.Memory) + "/" + allowed
	default:
		return allowed
	}
}

// restartsOf returns how often a unikernel has restarted by itself, or had by its end.
func restartsOf(s messages.UnikernelStatus) int {
	if s.State == messages.StateEnded {
		return s.End.Value.Restarts
	}
	return s.Restarts
}

// networksText returns the networks with the addresses on them, and published ports.
func networksText(s messages.UnikernelStatus) string {
	var parts []string
	for _, n := range s.Arguments.Networks {
		part := escape(n.OnBridge())
		if len(n.Leases) > 0 {
			part += " " + joined(n.Leases, " ", netip.Addr.String)
		}
		parts = append(parts, part)
	}
	for _, p := range s.Arguments.Publish {
		parts = append(parts, p.String())
	}
	if len(parts) == 0 {
		return "-"
	}
	return strings.Join(parts, ", ")
}

// imageText returns the beginning of a digest, which is enough to compare.
func imageText(d messages.Digest) string {
	if d == (messages.Digest{}) {
		return "-"
	}
	return hex.EncodeToString(d[:6])
}

// unikernelPage shows all of one unikernel as of now.
func unikernelPage(s messages.UnikernelStatus, now time.Time) string {
	p := page{}
	p.add("name", shortName(s.Name))
	p.add("state", stateText(s, now))
	if t := since(s); !t.IsZero() {
		p.add("since", fmt.Sprintf("%s (%s)", timeJSON(t), forHumans(now.Sub(t))))
	}
	if s.Wait.OK {
		p.add("because", escape(string(s.Wait.Value.Cause)))
	}
	if s.PID != 0 {
		p.add("pid", strconv.Itoa(s.PID))
	}
	if s.End.OK && s.State != messages.StateEnded {
		p.add("last end", s.End.Value.Exit.String()+" "+endTime(s.End.Value))
	}
	p.add("restarts", strconv.Itoa(restartsOf(s)))
	if s.State == messages.StateEnded {
		return p.String()
	}
	args := s.Arguments
	p.add("image", s.Digest.String())
	if args.Origin.OK {
		p.add("from", escape(string(args.Origin.Value)))
	}
	p.add("memory", memoryUse(s))
	if s.Used.OK {
		p.add("CPU time", cpuText(s.Used.Value.CPU))
	}
	p.add("CPUs", joined(args.CPUIDs, ", ", strconv.Itoa))
	p.add("if it exits", failText(args.Fail))
	if args.Health.OK {
		p.add("health", healthLine(s.Health, args.Health))
	}
	if args.Startup.OK {
		p.add("startup", strconv.Itoa(args.Startup.Value))
	}
	if s.Owner != "" {
		p.add("owner", escape(string(s.Owner)))
	}
	for _, b := range s.Blocks {
		p.add("block", blockText(b))
	}
	for _, n := range args.Networks {
		p.add("network", networkLine(n))
	}
	for _, published := range args.Publish {
		p.add("published", published.String())
	}
	if args.Argv.OK {
		p.add("arguments", joined(args.Argv.Value, " ", escape))
	}
	return p.String()
}

// healthLine returns what is known about a health, and how it is checked.
func healthLine(h messages.Health, check messages.Option[messages.HealthCheck]) string {
	switch {
	case h.State == "":
		return healthText(check)
	case h.Cause != "":
		return fmt.Sprintf("%s: %s", escape(string(h.State)), escape(string(h.Cause)))
	}
	return fmt.Sprintf("%s, by %s", escape(string(h.State)), healthText(check))
}

func networkLine(n messages.Network) string {
	text := escape(n.Name) + " -> " + escape(n.OnBridge())
	if n.MAC.OK {
		text += " " + n.MAC.Value.String()
	}
	for _, a := range n.Leases {
		text += " " + a.String()
	}
	if n.Rate > 0 {
		text += fmt.Sprintf(" (at most %s/s)", bytesText(n.Rate))
	}
	return text
}

// A page lists what is known of one thing.
type page struct{ lines [][2]string }

func (p *page) add(title, text string) { p.lines = append(p.lines, [2]string{title + ":", text}) }

func (p *page) String() string {
	width := 0
	for _, line := range p.lines {
		width = max(width, len(line[0]))
	}
	return joined(p.lines, "\n", func(line [2]string) string { return fmt.Sprintf("%-*s  %s", width, line[0], line[1]) })
}

func policyTable(list []messages.NamedPolicy) table {
	t := table{rows: [][]string{{"PATH", "UNIKERNELS", "MEMORY", "BLOCK", "CPUS", "BRIDGES"}}}
	for _, n := range list {
		p := n.Policy
		block := "-"
		if p.Block.OK {
			block = megabytesText(p.Block.Value)
		}
		t.rows = append(t.rows, []string{
			shortName(n.Name), strconv.Itoa(p.Unikernels), megabytesText(p.Memory), block, joined(p.CPUIDs, ",", strconv.Itoa), orDash(joined(p.Bridges, ",", escape)),
		})
	}
	return t
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func blockTable(list []messages.NamedBlock) table {
	t := table{rows: [][]string{{"NAME", "SIZE", "IN USE"}}}
	for _, b := range list {
		t.rows = append(t.rows, []string{shortName(b.Name), megabytesText(b.Size), yesNo(b.Active)})
	}
	return t
}

// endTable lists how unikernels ended, the last one last.
func endTable(list []messages.NamedEnd, now time.Time) table {
	t := table{rows: [][]string{{"NAME", "LAST END", "AGO", "RESTARTS", "CPU", "MEMORY", "NEXT"}}}
	for _, n := range list {
		row := []string{shortName(n.Name), "-", "-", strconv.Itoa(n.End.Restarts), "-", "-", "-"}
		if n.End != (messages.End{}) {
			row[1] = n.End.Exit.String()
			if n.End.AtMillis != 0 || n.End.FoundMillis != 0 {
				row[2] = forHumans(now.Sub(n.End.Known()))
			}
		}
		if u := n.End.Usage.Value; n.End.Usage.OK {
			row[4] = cpuText(time.Duration(u.UserMicros+u.SystemMicros) * time.Microsecond)
			if u.MaxMemory > 0 {
				row[5] = bytesText(u.MaxMemory << 10)
			}
		}
		if n.Wait.OK {
			row[6] = "waits: " + escape(string(n.Wait.Value.Cause))
		}
		if n.StoppedMillis != 0 {
			row[6] = "stopped"
		}
		t.rows = append(t.rows, row)
	}
	return t
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}
