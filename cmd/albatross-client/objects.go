package main

import (
	"net/netip"
	"time"

	"albatross/messages"
)

// The objects of JSON documents. docs/json.md lists their members, whose names and meanings do
// not change; members may be added.

// jsonTime is RFC 3339 in UTC, to the millisecond.
const jsonTime = "2006-01-02T15:04:05.000Z"

func timeJSON(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(jsonTime)
}

// A resultObject says that a command was carried out.
type resultObject struct {
	Name   string `json:"name,omitempty"`
	Result string `json:"result"`
}

// A unikernelObject is one of what 'info' lists.
type unikernelObject struct {
	Name        string         `json:"name"`
	State       string         `json:"state"`
	Since       string         `json:"since,omitempty"`
	Started     string         `json:"started,omitempty"`
	PID         int            `json:"pid,omitempty"`
	Restarts    int            `json:"restarts"`
	Cause       string         `json:"cause,omitempty"`
	Until       string         `json:"until,omitempty"`
	Exit        *exitObject    `json:"exit,omitempty"`
	CPUMicros   *int64         `json:"cpu_micros,omitempty"`
	MemoryBytes *int64         `json:"memory_bytes,omitempty"`
	MemoryMB    int            `json:"memory_mb,omitempty"`
	CPUs        []int          `json:"cpus,omitempty"`
	Image       string         `json:"image,omitempty"`
	Origin      string         `json:"origin,omitempty"`
	Arguments   []string       `json:"arguments,omitempty"`
	Networks    []deviceObject `json:"networks,omitempty"`
	Blocks      []diskObject   `json:"blocks,omitempty"`
	Published   []string       `json:"published,omitempty"`
	OnFail      *failObject    `json:"restart_on_fail,omitempty"`
	Startup     *int           `json:"startup,omitempty"`
	Health      *healthObject  `json:"health,omitempty"`
	Owner       string         `json:"owner,omitempty"`
}

// A healthObject is how the health of a unikernel is checked, and what is known about it.
type healthObject struct {
	Check         string `json:"check"`
	TimeoutMillis int64  `json:"timeout_millis"`
	State         string `json:"state,omitempty"`
	Cause         string `json:"cause,omitempty"`
}

// An exitObject is how a run ended.
type exitObject struct {
	Code   *int         `json:"code,omitempty"`
	Signal int          `json:"signal,omitempty"`
	Memory bool         `json:"out_of_memory,omitempty"`
	Time   string       `json:"time,omitempty"`
	Found  string       `json:"found,omitempty"`
	Used   *usageObject `json:"used,omitempty"`
}

// A failObject says after which exit codes a unikernel is started again; none: after any.
type failObject struct {
	Codes []int `json:"codes,omitempty"`
}

// A deviceObject is a network device of a unikernel.
type deviceObject struct {
	Name      string   `json:"name"`
	Network   string   `json:"network"`
	MAC       string   `json:"mac,omitempty"`
	Addresses []string `json:"addresses,omitempty"`
	Rate      int64    `json:"rate,omitempty"`
}

// A diskObject is a block device as a unikernel has it.
type diskObject struct {
	Name       string `json:"name"`
	Device     string `json:"device"`
	SectorSize int    `json:"sector_size"`
	SizeMB     int    `json:"size_mb"`
}

// A policyObject is the policy of a path.
type policyObject struct {
	Path       string   `json:"path"`
	Unikernels int      `json:"unikernels"`
	MemoryMB   int      `json:"memory_mb"`
	CPUs       []int    `json:"cpus"`
	BlockMB    *int     `json:"block_mb,omitempty"`
	Bridges    []string `json:"bridges"`
}

// A blockObject is a block device of the host.
type blockObject struct {
	Name   string `json:"name"`
	SizeMB int    `json:"size_mb"`
	InUse  bool   `json:"in_use"`
}

// A networkObject is a named network.
type networkObject struct {
	Name     string          `json:"name"`
	Bridge   string          `json:"bridge"`
	Backend  string          `json:"backend"`
	Subnet   string          `json:"subnet"`
	Gateway  string          `json:"gateway"`
	Subnet6  string          `json:"subnet6,omitempty"`
	Gateway6 string          `json:"gateway6,omitempty"`
	MTU      int             `json:"mtu"`
	NAT      bool            `json:"nat"`
	Trouble  string          `json:"trouble,omitempty"`
	Owner    string          `json:"owner,omitempty"`
	Stations []stationObject `json:"unikernels"`
}

// A stationObject is a unikernel's device on a named network.
type stationObject struct {
	Name      string   `json:"name"`
	MAC       string   `json:"mac"`
	Addresses []string `json:"addresses"`
	Published []string `json:"published,omitempty"`
}

// An endObject is one of what 'exits' lists.
type endObject struct {
	Name     string      `json:"name"`
	Restarts int         `json:"restarts"`
	Exit     *exitObject `json:"exit,omitempty"`
	Since    string      `json:"waits_since,omitempty"`
	Until    string      `json:"until,omitempty"`
	Cause    string      `json:"cause,omitempty"`
	Stopped  string      `json:"stopped_since,omitempty"`
}

// A consoleObject is the console of a unikernel that is gone.
type consoleObject struct {
	Name string `json:"name"`
}

// A lineObject is a line of a console.
type lineObject struct {
	Name string `json:"name"`
	Time string `json:"time"`
	Line string `json:"line"`
}

// answerJSON returns an answer as a document.
func answerJSON(name messages.Name, answer messages.Success) (text string, known bool) {
	switch s := answer.(type) {
	case messages.SuccessEmpty, messages.SuccessDump, messages.SuccessImage:
		return "", true
	case messages.SuccessText:
		return asciiJSON(resultObject{shortName(name), string(s.Text)}), true
	case messages.SuccessPolicies:
		return documentOf(s.List, toPolicyObject), true
	case messages.SuccessConsoles:
		return documentOf(s.List, func(n messages.Name) consoleObject { return consoleObject{shortName(n)} }), true
	case messages.SuccessBlocks:
		return documentOf(s.List, func(b messages.NamedBlock) blockObject { return blockObject{shortName(b.Name), b.Size, b.Active} }), true
	}
	return "", false
}

// documentOf returns a list of objects as one document.
func documentOf[T, O any](list []T, object func(T) O) string { return asciiJSON(mapped(list, object)) }

// mapped returns what a function makes of each element. It never returns nil, which is no list in
// JSON.
func mapped[T, O any](list []T, of func(T) O) []O {
	all := make([]O, len(list))
	for i, v := range list {
		all[i] = of(v)
	}
	return all
}

func toPolicyObject(n messages.NamedPolicy) policyObject {
	p := n.Policy
	o := policyObject{
		Path: n.Name.Path.String(), Unikernels: p.Unikernels, MemoryMB: p.Memory, CPUs: mapped(p.CPUIDs, same[int]), Bridges: mapped(p.Bridges, same[string]),
	}
	if p.Block.OK {
		o.BlockMB = &p.Block.Value
	}
	return o
}

func same[T any](v T) T { return v }

func toUnikernelObject(s messages.UnikernelStatus) unikernelObject {
	args := s.Arguments
	o := unikernelObject{
		Name: shortName(s.Name), State: string(s.State), Started: timeJSON(s.Started), Since: timeJSON(since(s)), PID: s.PID, Restarts: restartsOf(s),
		MemoryMB: args.Memory, CPUs: args.CPUIDs, Origin: string(args.Origin.Value), Arguments: args.Argv.Value, Exit: toExitObject(s.End), Owner: string(s.Owner),
		Published: mapped(args.Publish, messages.Publication.String),
		Networks:  mapped(args.Networks, toDeviceObject), Blocks: mapped(s.Blocks, toDiskObject),
	}
	if s.Digest != (messages.Digest{}) {
		o.Image = s.Digest.String()
	}
	if s.Wait.OK {
		o.Cause, o.Until = string(s.Wait.Value.Cause), timeJSON(s.Wait.Value.Until)
	}
	if s.Used.OK {
		micros := s.Used.Value.CPU.Microseconds()
		o.CPUMicros, o.MemoryBytes = &micros, &s.Used.Value.Memory
	}
	if args.Fail.Restart {
		o.OnFail = &failObject{args.Fail.Codes}
	}
	if args.Startup.OK {
		o.Startup = &args.Startup.Value
	}
	if check := args.Health; check.OK {
		o.Health = &healthObject{check.Value.String(), check.Value.Millis, string(s.Health.State), string(s.Health.Cause)}
	}
	return o
}

func toExitObject(end messages.Option[messages.End]) *exitObject {
	if !end.OK || end.Value == (messages.End{}) {
		return nil
	}
	e := end.Value
	o := &exitObject{}
	switch {
	case !e.Exit.Known:
	case e.Exit.Signal != 0:
		o.Signal, o.Memory = e.Exit.Signal, e.Exit.OutOfMemory
	default:
		o.Code = &e.Exit.Code
	}
	if e.AtMillis != 0 {
		o.Time = timeJSON(time.UnixMilli(e.AtMillis))
	}
	if e.FoundMillis != 0 {
		o.Found = timeJSON(time.UnixMilli(e.FoundMillis))
	}
	if e.Usage.OK {
		o.Used = &usageObject{e.Usage.Value.UserMicros, e.Usage.Value.SystemMicros, e.Usage.Value.MaxMemory}
	}
	return o
}

func toDeviceObject(n messages.Network) deviceObject {
	o := deviceObject{Name: n.Name, Network: n.OnBridge(), Addresses: mapped(n.Leases, netip.Addr.String), Rate: n.Rate}
	if n.MAC.OK {
		o.MAC = n.MAC.Value.String()
	}
	return o
}

func toDiskObject(b messages.BlockInfo) diskObject {
	return diskObject{Name: b.Name, Device: b.HostDevice(), SectorSize: b.SectorBytes(), SizeMB: b.Size}
}

func toNetworkObject(n messages.NetworkStatus) networkObject {
	bridge, _ := messages.BridgeOf(n.Name)
	o := networkObject{
		Name: shortName(n.Name), Bridge: bridge, Backend: string(n.Spec.Backend), Subnet: n.Spec.Subnet().String(), Gateway: n.Spec.Gateway.Addr().String(),
		MTU: n.Spec.MTU, NAT: n.Spec.NAT, Trouble: string(n.Trouble), Owner: string(n.Spec.Owner), Stations: mapped(n.Stations, toStationObject),
	}
	if n.Spec.Gateway6.IsValid() {
		o.Subnet6, o.Gateway6 = n.Spec.Gateway6.Masked().String(), n.Spec.Gateway6.Addr().String()
	}
	return o
}

func toStationObject(s messages.NetworkStation) stationObject {
	return stationObject{
		Name: shortName(s.Unikernel), MAC: s.MAC.String(),
		Addresses: mapped(s.Addresses, netip.Addr.String), Published: mapped(s.Publish, messages.Publication.String),
	}
}

func toEndObject(n messages.NamedEnd) endObject {
	o := endObject{Name: shortName(n.Name), Restarts: n.End.Restarts, Exit: toExitObject(messages.Some(n.End))}
	if n.Wait.OK {
		o.Since, o.Until, o.Cause = timeJSON(n.Wait.Value.Since), timeJSON(n.Wait.Value.Until), string(n.Wait.Value.Cause)
	}
	if n.StoppedMillis != 0 {
		o.Stopped = timeJSON(time.UnixMilli(n.StoppedMillis))
	}
	return o
}

func toLineObject(name messages.Name, line messages.DataConsole) lineObject {
	return lineObject{shortName(name), timeJSON(line.Time), line.Line}
}

// A usageObject is what a unikernel had used when it ended.
type usageObject struct {
	UserMicros   int64 `json:"user_micros"`
	SystemMicros int64 `json:"system_micros"`
	MaxMemory    int64 `json:"max_memory_kb,omitempty"` // absent: unknown
}
