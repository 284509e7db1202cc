package control

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"time"

	"albatross/messages"
)

// unikernel is an item of the answer to a request for the status of unikernels.
type unikernel struct {
	Name     string          `cbor:"1,keyasint"`
	State    string          `cbor:"2,keyasint"`
	Digest   []byte          `cbor:"3,keyasint,omitempty"`
	Memory   int             `cbor:"4,keyasint,omitempty"`
	CPUs     []int           `cbor:"5,keyasint,omitempty"`
	Started  time.Time       `cbor:"6,keyasint,omitzero"`
	PID      int             `cbor:"7,keyasint,omitempty"`
	Restarts int             `cbor:"8,keyasint,omitempty"`
	Since    time.Time       `cbor:"9,keyasint,omitzero"`
	Cause    messages.Public `cbor:"10,keyasint,omitempty"`
	Until    time.Time       `cbor:"11,keyasint,omitzero"`
	End      *end            `cbor:"12,keyasint,omitempty"`
	Used     *used           `cbor:"13,keyasint,omitempty"`
	Networks []netDevice     `cbor:"14,keyasint,omitempty"`
	Blocks   []blockDevice   `cbor:"15,keyasint,omitempty"`
	Publish  []publication   `cbor:"16,keyasint,omitempty"`
	Restart  bool            `cbor:"17,keyasint,omitempty"`
	Codes    []int           `cbor:"18,keyasint,omitempty"`
	Startup  *int            `cbor:"19,keyasint,omitempty"`
	AddName  bool            `cbor:"20,keyasint,omitempty"`
	Stopped  time.Time       `cbor:"21,keyasint,omitzero"`
	Health   string          `cbor:"22,keyasint,omitempty"`
	Sick     messages.Public `cbor:"23,keyasint,omitempty"`
	Check    *healthCheck    `cbor:"24,keyasint,omitempty"`
	Owner    string          `cbor:"25,keyasint,omitempty"`
	Origin   string          `cbor:"26,keyasint,omitempty"`
}

type used struct {
	CPUMicros int64 `cbor:"1,keyasint,omitempty"`
	Memory    int64 `cbor:"2,keyasint,omitempty"` // bytes
}

type netDevice struct {
	Name      string       `cbor:"1,keyasint"`
	Network   string       `cbor:"2,keyasint"`
	MAC       messages.MAC `cbor:"3,keyasint"`
	Addresses []netip.Addr `cbor:"4,keyasint,omitempty"`
	Rate      int64        `cbor:"5,keyasint,omitempty"`
	Static    bool         `cbor:"6,keyasint,omitempty"`
}

type blockDevice struct {
	Name   string `cbor:"1,keyasint"`
	Device string `cbor:"2,keyasint"`
	Sector int    `cbor:"3,keyasint,omitempty"`
	Size   int    `cbor:"4,keyasint,omitempty"` // MB
}

func appendStatuses(dst []byte, list []messages.UnikernelStatus) (_ []byte, err error) {
	for i := range list {
		if dst, err = appendItem(dst, fromStatus(&list[i])); err != nil {
			return dst, err
		}
	}
	return append(dst, all...), nil
}

func fromStatus(s *messages.UnikernelStatus) unikernel {
	args := s.Arguments
	u := unikernel{
		Name: s.Name.String(), State: string(s.State), Restarts: s.Restarts, PID: s.PID, Started: s.Started, Stopped: s.Stopped,
		Memory: args.Memory, CPUs: args.CPUIDs, Publish: fromPublications(args.Publish),
		Restart: args.Fail.Restart, Codes: args.Fail.Codes, AddName: args.AddName,
		Health: string(s.Health.State), Sick: s.Health.Cause, Check: fromHealthCheck(args.Health),
		Owner: string(s.Owner), Origin: string(args.Origin.Value),
	}
	if s.Digest != (messages.Digest{}) {
		u.Digest = s.Digest[:]
	}
	if args.Startup.OK {
		u.Startup = &args.Startup.Value
	}
	if s.Wait.OK {
		u.Since, u.Cause, u.Until = s.Wait.Value.Since, s.Wait.Value.Cause, s.Wait.Value.Until
	}
	if s.End.OK {
		e := toEnd(messages.NamedEnd{Name: s.Name, End: s.End.Value})
		u.End = &e
	}
	if s.Used.OK {
		u.Used = &used{s.Used.Value.CPU.Microseconds(), s.Used.Value.Memory}
	}
	for _, n := range args.Networks {
		u.Networks = append(u.Networks, netDevice{
			Name: n.Name, Network: n.OnBridge(), MAC: n.MAC.Value, Addresses: n.Leases, Rate: n.Rate, Static: n.Static,
		})
	}
	for _, b := range s.Blocks {
		u.Blocks = append(u.Blocks, blockDevice{Name: b.Name, Device: b.HostDevice(), Sector: b.SectorSize.Value, Size: b.Size})
	}
	return u
}

// ReadStatuses reads the answer to a request for the status of unikernels: a
// messages.SuccessStatuses, or a messages.Failure. Errors are those of ReadAnswer.
func ReadStatuses(r io.Reader) (messages.Payload, error) {
	list, failure, err := readList(r, maxList, MaxEvent, readStatus)
	switch {
	case err != nil:
		return nil, err
	case failure != nil:
		return *failure, nil
	}
	return messages.SuccessStatuses{List: list}, nil
}

func readStatus(b []byte) (s messages.UnikernelStatus, err error) {
	var u unikernel
	if err := decMode.Unmarshal(b, &u); err != nil {
		return s, err
	}
	return u.status()
}

func (u *unikernel) status() (s messages.UnikernelStatus, err error) {
	args := &s.Arguments
	s.State, s.PID, s.Restarts, s.Started = messages.UnikernelState(u.State), u.PID, u.Restarts, inUTC(u.Started)
	s.Stopped, s.Owner = inUTC(u.Stopped), messages.Owner(u.Owner)
	s.Health = messages.Health{State: messages.HealthState(u.Health), Cause: u.Sick}
	args.Memory, args.CPUIDs, args.AddName = u.Memory, u.CPUs, u.AddName
	args.Fail = messages.FailBehaviour{Restart: u.Restart, Codes: u.Codes}
	if u.Startup != nil {
		args.Startup = messages.Some(*u.Startup)
	}
	if !u.Since.IsZero() {
		s.Wait = messages.Some(messages.Wait{Since: inUTC(u.Since), Cause: u.Cause, Until: inUTC(u.Until)})
	}
	if u.Used != nil {
		if min(u.Used.CPUMicros, u.Used.Memory) < 0 {
			return s, errors.New("it has used less than nothing")
		}
		s.Used = messages.Some(messages.Use{CPU: time.Duration(u.Used.CPUMicros) * time.Microsecond, Memory: u.Used.Memory})
	}
	u.devices(&s)
	if copy(s.Digest[:], u.Digest) != len(u.Digest) || len(u.Digest)%len(s.Digest) != 0 {
		return s, fmt.Errorf("a digest of %d bytes is none", len(u.Digest))
	}
	if args.Publish, err = toPublications(u.Publish); err != nil {
		return s, err
	}
	if args.Health, err = u.Check.message(); err != nil {
		return s, err
	}
	if args.Origin, err = toOrigin(u.Origin); err != nil {
		return s, err
	}
	if u.End != nil {
		n, err := u.End.named()
		if err != nil {
			return s, err
		}
		s.End = messages.Some(n.End)
	}
	s.Name, err = messages.ParseName(u.Name)
	return s, err
}

func (u *unikernel) devices(s *messages.UnikernelStatus) {
	for _, n := range u.Networks {
		s.Arguments.Networks = append(s.Arguments.Networks, messages.Network{
			Name: n.Name, Bridge: messages.Some(n.Network), MAC: messages.Some(n.MAC), Leases: n.Addresses, Rate: n.Rate, Static: n.Static,
		})
	}
	for _, b := range u.Blocks {
		info := messages.BlockInfo{Name: b.Name, Device: messages.Some(b.Device), Size: b.Size}
		if b.Sector != 0 {
			info.SectorSize = messages.Some(b.Sector)
		}
		s.Blocks = append(s.Blocks, info)
	}
}

func inUTC(t time.Time) time.Time {
	if t.IsZero() {
		return time.Time{}
	}
	return t.UTC()
}
