package control

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"time"

	"albatross/messages"
)

// The kinds of requests.
const (
	ends     = "ends"     // how unikernels ended
	status   = "status"   // of unikernels
	settings = "settings" // settings of unikernels
	stream   = "events"   // what happens
	reserve  = "reserve-block"

	create        = "create"
	networks      = "networks"
	createNetwork = "create-network"
	removeNetwork = "remove-network"
	publish       = "publish"
	unpublish     = "unpublish"

	stop   = "stop"
	start  = "start"
	rename = "rename"

	history  = "history"
	rollback = "rollback"

	restart      = "restart"
	deployPolicy = "add-policy"
	deployBlock  = "create-block"
	own          = "own"
	owners       = "owners"
)

type request struct {
	Version int          `cbor:"1,keyasint"`
	Request string       `cbor:"2,keyasint"`
	Name    string       `cbor:"3,keyasint,omitempty"`
	Since   *time.Time   `cbor:"4,keyasint,omitempty"`
	Network *networkAsk  `cbor:"6,keyasint,omitempty"`
	Port    *publication `cbor:"7,keyasint,omitempty"`
	Deploy  *deploy      `cbor:"8,keyasint,omitempty"`
	To      string       `cbor:"9,keyasint,omitempty"`
	Number  int          `cbor:"10,keyasint,omitempty"`
	Owner   string       `cbor:"11,keyasint,omitempty"`
	Kind    string       `cbor:"12,keyasint,omitempty"`
	Policy  *policy      `cbor:"13,keyasint,omitempty"`
	For     string       `cbor:"14,keyasint,omitempty"`
	Keep    bool         `cbor:"15,keyasint,omitempty"`
}

// Read reads one request, of at most max bytes, and nothing after it. It returns a
// messages.BadRequest for one that it cannot decode, so that the client gets a reason.
// What is no CBOR item is an error, after which nothing more can be read.
//
// It returns io.EOF if there is no request, and io.ErrUnexpectedEOF if it is cut off.
func Read(r io.Reader, max int) (messages.Wire, error) {
	item, err := readItem(r, max)
	if err != nil {
		return messages.Wire{}, err
	}
	m, err := decodeRequest(item)
	if err != nil {
		m = messages.Wire{Payload: messages.BadRequest{Why: "cannot understand the request: " + messages.PublicError(err)}}
	}
	return m, nil
}

func decodeRequest(item []byte) (m messages.Wire, err error) {
	r := request{Name: ":"}
	if err := decMode.Unmarshal(item, &r); err != nil {
		return m, err
	}
	if r.Version != Version {
		return m, fmt.Errorf("its version is %d, and only %d is known here", r.Version, Version)
	}
	if m.Header.Name, err = messages.ParseName(r.Name); err != nil {
		return m, err
	}
	if len(r.For) > messages.MaxFor {
		return m, fmt.Errorf("whom it is for has %d bytes, and at most %d are possible", len(r.For), messages.MaxFor)
	}
	m.For = r.For
	m.Payload, err = r.command()
	return m, err
}

func (r request) command() (messages.Command, error) {
	switch r.Request {
	case ends:
		return messages.EndList{}, nil
	case status:
		return messages.StatusList{}, nil
	case settings:
		return messages.SettingList{}, nil
	case reserve:
		return messages.BlockReserve{}, nil
	case stream:
		subscribe := messages.EventsSubscribe{}
		if r.Since != nil {
			subscribe.Since = messages.Some(r.Since.UTC())
		}
		return subscribe, nil
	case stop:
		return messages.StopRequest{}, nil
	case start:
		return messages.StartRequest{}, nil
	case rename:
		if r.To == "" {
			return nil, errLacks
		}
		to, err := messages.ParseName(r.To)
		return messages.RenameRequest{To: to}, err
	case history:
		return messages.HistoryList{}, nil
	case rollback:
		return messages.RollbackRequest{Number: r.Number}, nil
	case owners:
		return messages.OwnerList{}, nil
	case own:
		kind, err := messages.ParseKind(r.Kind)
		return messages.OwnRequest{Kind: kind, Owner: messages.Owner(r.Owner)}, errors.Join(err, messages.Owner(r.Owner).Check())
	case deployBlock:
		return messages.BlockDeploy{Size: r.Number, Owner: messages.Owner(r.Owner)}, messages.Owner(r.Owner).Check()
	case deployPolicy:
		if r.Policy == nil {
			return nil, errLacks
		}
		return r.Policy.message(messages.Owner(r.Owner))
	case networks:
		return messages.NetworkList{}, nil
	case createNetwork:
		return r.networkCreate()
	case removeNetwork:
		return messages.NetworkRemove{}, nil
	case publish, unpublish:
		return r.publish()
	case create, restart:
		if r.Deploy == nil {
			return nil, errLacks
		}
		m, err := r.Deploy.message()
		if r.Request == create || err != nil {
			return m, err
		}
		return messages.RestartDeploy{Restart: messages.UnikernelRestart{Args: messages.Some(m.Create.Config.Arguments)}, KeepArgv: r.Keep}, nil
	}
	return nil, fmt.Errorf("nothing known here is called %.40q", r.Request)
}

// errLacks is about a request of a kind that has more in it.
var errLacks = errors.New("it lacks what its kind needs")

func (r request) networkCreate() (messages.Command, error) {
	if r.Network == nil {
		return nil, errLacks
	}
	n := *r.Network
	for _, subnet := range []netip.Prefix{n.Subnet, n.Subnet6} {
		if subnet != (netip.Prefix{}) && !subnet.IsValid() {
			return nil, errors.New("a subnet has more bits than an address")
		}
	}
	return messages.NetworkCreate{Asked: messages.NetworkAsk{
		Backend: messages.NetworkBackend(n.Backend), Subnet: n.Subnet, Gateway: n.Gateway, Subnet6: n.Subnet6, MTU: n.MTU, NoNAT: n.NoNAT,
		Owner: messages.Owner(n.Owner),
	}}, messages.Owner(n.Owner).Check()
}

func (r request) publish() (messages.Command, error) {
	if r.Port == nil {
		return nil, errLacks
	}
	p, err := r.Port.message()
	if r.Request == unpublish {
		return messages.PublishRemove{Publication: p}, err
	}
	return messages.PublishAdd{Publication: p}, err
}

// AppendRequest appends a request about a name to dst.
func AppendRequest(dst []byte, name messages.Name, command messages.Command) ([]byte, error) {
	return AppendRequestFor(dst, name, command, "")
}

// AppendRequestFor is AppendRequest on behalf of somebody; "": of nobody else.
func AppendRequestFor(dst []byte, name messages.Name, command messages.Command, behalf string) ([]byte, error) {
	r := request{Version: Version, Name: name.String(), For: behalf}
	switch m := command.(type) {
	case messages.EndList:
		r.Request = ends
	case messages.StatusList:
		r.Request = status
	case messages.SettingList:
		r.Request = settings
	case messages.BlockReserve:
		r.Request = reserve
	case messages.EventsSubscribe:
		r.Request = stream
		if m.Since.OK {
			r.Since = &m.Since.Value
		}
	case messages.StopRequest:
		r.Request = stop
	case messages.StartRequest:
		r.Request = start
	case messages.RenameRequest:
		r.Request, r.To = rename, m.To.String()
	case messages.HistoryList:
		r.Request = history
	case messages.RollbackRequest:
		r.Request, r.Number = rollback, m.Number
	case messages.OwnerList:
		r.Request = owners
	case messages.OwnRequest:
		r.Request, r.Kind, r.Owner = own, string(m.Kind), string(m.Owner)
	case messages.BlockDeploy:
		r.Request, r.Number, r.Owner = deployBlock, m.Size, string(m.Owner)
	case messages.PolicyDeploy:
		p := fromPolicy(m.Policy)
		r.Request, r.Policy, r.Owner = deployPolicy, &p, string(m.Policy.Owner)
	case messages.NetworkList:
		r.Request = networks
	case messages.NetworkCreate:
		a := m.Asked
		r.Request = createNetwork
		r.Network = &networkAsk{Backend: string(a.Backend), Subnet: a.Subnet, Gateway: a.Gateway, Subnet6: a.Subnet6, MTU: a.MTU, NoNAT: a.NoNAT, Owner: string(a.Owner)}
	case messages.NetworkRemove:
		r.Request = removeNetwork
	case messages.PublishAdd:
		p := fromPublication(m.Publication)
		r.Request, r.Port = publish, &p
	case messages.PublishRemove:
		p := fromPublication(m.Publication)
		r.Request, r.Port = unpublish, &p
	case messages.UnikernelDeploy: // the native message follows
		d := fromArguments(m.Create.Config.Arguments)
		d.Owner, d.Native = string(m.Owner), m.Native
		r.Request, r.Deploy = create, &d
	case messages.RestartDeploy: // likewise
		d := fromArguments(m.Restart.Args.Value)
		r.Request, r.Deploy, r.Keep = restart, &d, m.KeepArgv
	default:
		return dst, fmt.Errorf("internal error: a %T cannot be asked for on the control socket", command)
	}
	return appendItem(dst, r)
}
