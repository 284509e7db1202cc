package control

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"

	"albatross/messages"
)

// networkAsk is what a client asks of a new network.
type networkAsk struct {
	Backend string       `cbor:"1,keyasint,omitempty"`
	Subnet  netip.Prefix `cbor:"2,keyasint,omitzero"`
	Gateway netip.Addr   `cbor:"3,keyasint,omitzero"`
	Subnet6 netip.Prefix `cbor:"4,keyasint,omitzero"`
	MTU     int          `cbor:"5,keyasint,omitempty"`
	NoNAT   bool         `cbor:"6,keyasint,omitempty"`
	Owner   string       `cbor:"7,keyasint,omitempty"`
}

// publication is a port of the host that leads to one of a unikernel.
type publication struct {
	From uint16     `cbor:"1,keyasint"`
	To   uint16     `cbor:"2,keyasint"`
	Host netip.Addr `cbor:"3,keyasint,omitzero"`
	UDP  bool       `cbor:"4,keyasint,omitempty"`
}

func fromPublication(p messages.Publication) publication {
	return publication{From: p.From, To: p.To, Host: p.Host, UDP: p.UDP}
}

func (p publication) message() (messages.Publication, error) {
	switch {
	case p.From == 0 || p.To == 0:
		return messages.Publication{}, errors.New("a port is 0")
	case p.Host.Zone() != "":
		return messages.Publication{}, errors.New("an address to publish at has a zone")
	}
	return messages.Publication{From: p.From, To: p.To, Host: p.Host.Unmap(), UDP: p.UDP}, nil
}

func fromPublications(list []messages.Publication) (all []publication) {
	for _, p := range list {
		all = append(all, fromPublication(p))
	}
	return all
}

func toPublications(list []publication) (all []messages.Publication, err error) {
	for _, p := range list {
		m, err := p.message()
		if err != nil {
			return nil, err
		}
		all = append(all, m)
	}
	return all, nil
}

// deploy is what native albatross has no word for in a create, whose native message follows.
type deploy struct {
	Publish []publication `cbor:"1,keyasint,omitempty"`
	Devices []device      `cbor:"2,keyasint,omitempty"`
	Health  *healthCheck  `cbor:"3,keyasint,omitempty"`
	Owner   string        `cbor:"4,keyasint,omitempty"`
	Native  bool          `cbor:"5,keyasint,omitempty"`
	Origin  string        `cbor:"6,keyasint,omitempty"`
}

type device struct {
	Name    string     `cbor:"1,keyasint"` // in the manifest
	Address netip.Addr `cbor:"2,keyasint,omitzero"`
	Static  bool       `cbor:"3,keyasint,omitempty"`
	Rate    int64      `cbor:"4,keyasint,omitempty"` // bytes per second
}

func fromArguments(args messages.Arguments) deploy {
	d := deploy{Publish: fromPublications(args.Publish), Health: fromHealthCheck(args.Health), Origin: string(args.Origin.Value)}
	for _, n := range args.Networks {
		if n.IP.OK || n.Static || n.Rate != 0 {
			d.Devices = append(d.Devices, device{Name: n.Name, Address: n.IP.Value, Static: n.Static, Rate: n.Rate})
		}
	}
	return d
}

// message returns a UnikernelDeploy that lacks what the native message has.
func (d deploy) message() (m messages.UnikernelDeploy, err error) {
	args := &m.Create.Config.Arguments
	m.Owner, m.Native = messages.Owner(d.Owner), d.Native
	if err := m.Owner.Check(); err != nil {
		return m, err
	}
	if args.Publish, err = toPublications(d.Publish); err != nil {
		return m, err
	}
	if args.Health, err = d.Health.message(); err != nil {
		return m, err
	}
	if args.Origin, err = toOrigin(d.Origin); err != nil {
		return m, err
	}
	for _, n := range d.Devices {
		if n.Rate < 0 {
			return m, fmt.Errorf("the rate of device %.40q is negative", n.Name)
		}
		network := messages.Network{Name: n.Name, Static: n.Static, Rate: n.Rate}
		if n.Address.IsValid() {
			network.IP = messages.Some(n.Address)
		}
		args.Networks = append(args.Networks, network)
	}
	return m, nil
}

// toOrigin returns where an image is from, if that is known.
func toOrigin(s string) (o messages.Option[messages.Origin], err error) {
	if s == "" {
		return o, nil
	}
	origin, err := messages.ParseOrigin(s)
	return messages.Some(origin), err
}

// Native returns the native message that follows a command: a UnikernelDeploy or a RestartDeploy; nil:
// none does.
func Native(command messages.Payload) messages.Command {
	switch c := command.(type) {
	case messages.UnikernelDeploy:
		return c.Create
	case messages.RestartDeploy:
		return c.Restart
	}
	return nil
}

// Complete adds the native message that follows a command to it.
func Complete(m, native messages.Wire) messages.Wire {
	if native.Header.Name == m.Header.Name {
		switch command := m.Payload.(type) {
		case messages.UnikernelDeploy:
			if create, ok := native.Payload.(messages.UnikernelCreate); ok {
				args, err := complete(create.Config.Arguments, command.Create.Config.Arguments)
				create.Config.Arguments = args
				command.Create = create
				return completed(m, command, err)
			}
		case messages.RestartDeploy:
			if again, ok := native.Payload.(messages.UnikernelRestart); ok && again.Args.OK {
				args, err := complete(again.Args.Value, command.Restart.Args.Value)
				again.Args.Value = args
				command.Restart = again
				return completed(m, command, err)
			}
		}
	}
	m.Payload = messages.BadRequest{Why: "cannot understand the request: what follows is not what it announces, of that name"}
	return m
}

func completed(m messages.Wire, command messages.Command, err error) messages.Wire {
	m.Payload = command
	if err != nil {
		m.Payload = messages.BadRequest{Why: "cannot understand the request: " + messages.PublicError(err)}
	}
	return m
}

// complete returns the arguments of a native message with what that has no word for.
func complete(args, more messages.Arguments) (messages.Arguments, error) {
	args.Networks = slices.Clone(args.Networks)
	args.Publish, args.Health, args.Origin = more.Publish, more.Health, more.Origin
	for _, n := range more.Networks {
		i := slices.IndexFunc(args.Networks, func(other messages.Network) bool { return other.Name == n.Name })
		if i < 0 {
			return args, fmt.Errorf("there is no network device %.40q in it", n.Name)
		}
		args.Networks[i].IP, args.Networks[i].Static, args.Networks[i].Rate = n.IP, n.Static, n.Rate
	}
	return args, nil
}

// network is an item of a list of networks, and station one that belongs to the network before it.
type network struct {
	Name     string          `cbor:"1,keyasint"`
	Backend  string          `cbor:"2,keyasint"`
	Gateway  netip.Prefix    `cbor:"3,keyasint"`
	Gateway6 netip.Prefix    `cbor:"4,keyasint,omitzero"`
	MTU      int             `cbor:"5,keyasint"`
	NAT      bool            `cbor:"6,keyasint,omitempty"`
	Trouble  messages.Public `cbor:"7,keyasint,omitempty"`
	Owner    string          `cbor:"12,keyasint,omitempty"`
}

type station struct {
	Unikernel string        `cbor:"8,keyasint"`
	MAC       messages.MAC  `cbor:"9,keyasint"`
	Addresses []netip.Addr  `cbor:"10,keyasint"`
	Publish   []publication `cbor:"11,keyasint,omitempty"`
}

func appendNetworks(dst []byte, list []messages.NetworkStatus) (_ []byte, err error) {
	for _, n := range list {
		s := n.Spec
		item := network{Name: n.Name.String(), Backend: string(s.Backend), Gateway: s.Gateway, Gateway6: s.Gateway6, MTU: s.MTU, NAT: s.NAT, Trouble: n.Trouble, Owner: string(s.Owner)}
		if dst, err = appendItem(dst, item); err != nil {
			return dst, err
		}
		for _, on := range n.Stations {
			item := station{Unikernel: on.Unikernel.String(), MAC: on.MAC, Addresses: on.Addresses, Publish: fromPublications(on.Publish)}
			if dst, err = appendItem(dst, item); err != nil {
				return dst, err
			}
		}
	}
	return append(dst, all...), nil
}

// ReadNetworks reads the answer to a request for networks: a messages.SuccessNetworks, or a
// messages.Failure. Errors are those of ReadAnswer.
func ReadNetworks(r io.Reader) (messages.Payload, error) {
	items, failure, err := readList(r, maxList, MaxItem, readNetwork)
	switch {
	case err != nil:
		return nil, err
	case failure != nil:
		return *failure, nil
	}
	var list []messages.NetworkStatus
	for _, item := range items {
		switch {
		case item.station == nil:
			list = append(list, item.network)
		case len(list) == 0:
			return nil, errors.New("cannot understand the answer: a unikernel is on no network")
		default:
			on := &list[len(list)-1]
			on.Stations = append(on.Stations, *item.station)
		}
	}
	return messages.SuccessNetworks{List: list}, nil
}

// networkItem is a network, or a station on the one before.
type networkItem struct {
	network messages.NetworkStatus
	station *messages.NetworkStation
}

func readNetwork(b []byte) (item networkItem, err error) {
	var both struct {
		network
		station
	}
	if err := decMode.Unmarshal(b, &both); err != nil {
		return item, err
	}
	if both.Unikernel == "" {
		n := both.network
		item.network.Spec = messages.NetworkSpec{
			Backend: messages.NetworkBackend(n.Backend), Gateway: n.Gateway, Gateway6: n.Gateway6, MTU: n.MTU, NAT: n.NAT,
			Owner: messages.Owner(n.Owner),
		}
		item.network.Trouble = n.Trouble
		item.network.Name, err = messages.ParseName(n.Name)
		return item, err
	}
	s := both.station
	item.station = &messages.NetworkStation{MAC: s.MAC, Addresses: s.Addresses}
	if item.station.Publish, err = toPublications(s.Publish); err != nil {
		return item, err
	}
	item.station.Unikernel, err = messages.ParseName(s.Unikernel)
	return item, err
}
