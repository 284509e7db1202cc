package control_test

import (
	"bytes"
	"net/netip"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"albatross/messages"
	"albatross/sockets/control"
)

var (
	web  = messages.Name{Path: "a", Label: "web"}
	port = messages.Publication{UDP: true, Host: netip.MustParseAddr("127.0.0.1"), From: 53, To: 5353}
)

// deployed has all that native albatross has no word for.
func deployed() messages.UnikernelDeploy {
	return messages.UnikernelDeploy{Owner: "team/a", Create: messages.UnikernelCreate{Force: true, Config: messages.Config{
		Image: []byte("image"),
		Arguments: messages.Arguments{
			CPUIDs: []int{0}, Memory: 32, Publish: []messages.Publication{port, {From: 8080, To: 80}},
			Origin: messages.Some(messages.Origin("oci://localhost/web@sha256:" + strings.Repeat("0", 64))),
			Networks: []messages.Network{
				{Name: "service", Bridge: messages.Some("net"), IP: messages.Some(netip.MustParseAddr("10.0.0.5")), Static: true, Rate: 1000},
				{Name: "other"},
			},
		},
	}}}
}

// TestRequestsAboutNetworksAreTheseBytes: to change them is to change the protocol.
func TestRequestsAboutNetworksAreTheseBytes(t *testing.T) {
	for golden, command := range map[string]messages.Command{
		"a3 0101 02 68 6e6574776f726b73 03 65 613a776562":                   messages.NetworkList{},
		"a3 0101 02 6e 72656d6f76652d6e6574776f726b 03 65 613a776562":       messages.NetworkRemove{},
		"a4 0101 02 6e 6372656174652d6e6574776f726b 03 65 613a776562 06 a0": messages.NetworkCreate{},
		"a4 0101 02 6e 6372656174652d6e6574776f726b 03 65 613a776562 06 a6 01 64 75736572 02 45 0a00000018 03 44 0a000001 04 51 fd000000000000000000000000000000 40 05 19 0500 06 f5": messages.NetworkCreate{
			Asked: messages.NetworkAsk{
				Backend: messages.UserNetwork, Subnet: netip.MustParsePrefix("10.0.0.0/24"), Gateway: netip.MustParseAddr("10.0.0.1"),
				Subnet6: netip.MustParsePrefix("fd00::/64"), MTU: 1280, NoNAT: true,
			},
		},
		"a4 0101 02 67 7075626c697368 03 65 613a776562 07 a4 01 18 35 02 19 14e9 03 44 7f000001 04 f5":     messages.PublishAdd{Publication: port},
		"a4 0101 02 69 756e7075626c697368 03 65 613a776562 07 a4 01 18 35 02 19 14e9 03 44 7f000001 04 f5": messages.PublishRemove{Publication: port},
	} {
		requireRequest(t, golden, web, command)
	}
}

// TestDeploy: the native message follows the request.
func TestDeploy(t *testing.T) {
	want := deployed()
	request, err := control.AppendRequest(nil, web, want)
	require.NoError(t, err)
	m, err := control.Read(bytes.NewReader(request), control.MaxItem)
	require.NoError(t, err)
	native := want.Create
	native.Config.Arguments.Publish = nil
	native.Config.Arguments.Networks = []messages.Network{{Name: "service", Bridge: messages.Some("net")}, {Name: "other"}}
	complete := control.Complete(m, messages.Wire{Header: messages.Header{Name: web}, Payload: native})
	require.Equal(t, messages.Wire{Header: messages.Header{Name: web}, Payload: want}, complete)
}

// TestRestartIsTheseBytes, and the native message follows that.
func TestRestartIsTheseBytes(t *testing.T) {
	args := deployed().Create.Config.Arguments
	want := messages.RestartDeploy{Restart: messages.UnikernelRestart{Form: messages.RestartArgs2, Args: messages.Some(args)}, KeepArgv: true}
	request, err := control.AppendRequest(nil, web, want)
	require.NoError(t, err)
	require.Equal(t, unhex(t, "a5 0101 02 67 72657374617274 03 65 613a776562 08"), request[:20])
	require.Equal(t, unhex(t, "0f f5"), request[len(request)-2:])
	m, err := control.Read(bytes.NewReader(request), control.MaxItem)
	require.NoError(t, err)
	native := args
	native.Publish, native.Networks = nil, []messages.Network{{Name: "service", Bridge: messages.Some("net")}, {Name: "other"}}
	follows := messages.UnikernelRestart{Form: messages.RestartArgs2, Args: messages.Some(native)}
	require.Equal(t, messages.UnikernelRestart{Args: messages.Some(m.Payload.(messages.RestartDeploy).Restart.Args.Value)}, control.Native(m.Payload))
	require.Equal(t, messages.Wire{Header: messages.Header{Name: web}, Payload: want}, control.Complete(m, messages.Wire{Header: m.Header, Payload: follows}))
	for _, other := range []messages.Command{messages.UnikernelRestart{}, deployed().Create, messages.UnikernelDestroy{}} {
		require.IsType(t, messages.BadRequest{}, control.Complete(m, messages.Wire{Header: m.Header, Payload: other}).Payload)
	}
}

// TestDeployNatively: an endpoint says that a create was a native message.
func TestDeployNatively(t *testing.T) {
	want := messages.UnikernelDeploy{Native: true, Create: messages.UnikernelCreate{Config: messages.Config{Image: []byte("image")}}}
	request, err := control.AppendRequest(nil, web, want)
	require.NoError(t, err)
	require.Equal(t, unhex(t, "a4 0101 02 66 637265617465 03 65 613a776562 08 a1 05 f5"), request)
	m, err := control.Read(bytes.NewReader(request), control.MaxItem)
	require.NoError(t, err)
	require.Equal(t, messages.Wire{Header: m.Header, Payload: want}, control.Complete(m, messages.Wire{Header: m.Header, Payload: want.Create}))
}

// TestDeployRefuses what belongs to something else.
func TestDeployRefuses(t *testing.T) {
	request := messages.Wire{Header: messages.Header{Name: web}, Payload: deployed()}
	create := messages.UnikernelCreate{Config: messages.Config{Arguments: messages.Arguments{Networks: []messages.Network{{Name: "service"}, {Name: "other"}}}}}
	for why, native := range map[string]messages.Wire{
		"another name":    {Payload: create},
		"another command": {Header: request.Header, Payload: messages.UnikernelDestroy{}},
		"no such device":  {Header: request.Header, Payload: messages.UnikernelCreate{}},
	} {
		m := control.Complete(request, native)
		require.IsType(t, messages.BadRequest{}, m.Payload, why)
	}
}

func TestListOfNetworks(t *testing.T) {
	spec := messages.NetworkSpec{Backend: messages.KernelNetwork, Gateway: netip.MustParsePrefix("10.0.0.1/24"), Gateway6: netip.MustParsePrefix("fd00::1/64"), MTU: 9000, NAT: true, Owner: "me"}
	list := []messages.NetworkStatus{
		{Name: web, Spec: spec, Trouble: "no bridge", Stations: []messages.NetworkStation{
			{Unikernel: web, MAC: messages.MAC{1, 2, 3, 4, 5, 6}, Addresses: []netip.Addr{netip.MustParseAddr("10.0.0.5")}, Publish: []messages.Publication{port}},
			{Unikernel: messages.Name{Label: "x"}, MAC: messages.MAC{1}, Addresses: []netip.Addr{netip.MustParseAddr("10.0.0.6"), netip.MustParseAddr("fd00::6")}},
		}},
		{Name: messages.Name{Label: "empty"}, Spec: messages.NetworkSpec{Backend: messages.UserNetwork, Gateway: netip.MustParsePrefix("10.0.1.1/24"), MTU: 1500}},
	}
	b, err := control.Append(nil, messages.Wire{Payload: messages.SuccessNetworks{List: list}})
	require.NoError(t, err)
	p, err := control.ReadNetworks(bytes.NewReader(b))
	require.NoError(t, err)
	require.Equal(t, messages.SuccessNetworks{List: list}, p)
	for cut := range b {
		_, err := control.ReadNetworks(bytes.NewReader(b[:cut]))
		require.Error(t, err)
	}
	station := b[bytes.Index(b, []byte{0x08}):]
	_, err = control.ReadNetworks(bytes.NewReader(append([]byte{0xa3}, station...)))
	require.Error(t, err)
}

// TestHostileRequestsAboutNetworks are answered, and not carried out.
func TestHostileRequestsAboutNetworks(t *testing.T) {
	for what, request := range map[string]string{
		"publishes nothing":       "a3 0101 02 67 7075626c697368 03 65 613a776562",
		"publishes port 0":        "a4 0101 02 67 7075626c697368 03 65 613a776562 07 a2 01 00 02 01",
		"publishes to port 0":     "a4 0101 02 67 7075626c697368 03 65 613a776562 07 a2 01 01 02 00",
		"publishes port 65536":    "a4 0101 02 67 7075626c697368 03 65 613a776562 07 a2 01 1a 00010000 02 01",
		"an address of 3 bytes":   "a4 0101 02 67 7075626c697368 03 65 613a776562 07 a3 01 01 02 01 03 43 010203",
		"an address with a zone":  "a4 0101 02 67 7075626c697368 03 65 613a776562 07 a3 01 01 02 01 03 52 fe800000000000000000000000000001 6c6f",
		"creates without a spec":  "a3 0101 02 6e 6372656174652d6e6574776f726b 03 65 613a776562",
		"a subnet with 33 bits":   "a4 0101 02 6e 6372656174652d6e6574776f726b 03 65 613a776562 06 a1 02 45 0a00000021",
		"deploys nothing":         "a3 0101 02 66 637265617465 03 65 613a776562",
		"deploys a negative rate": "a4 0101 02 66 637265617465 03 65 613a776562 08 a1 02 81 a2 01 61 61 04 20",
	} {
		m, err := control.Read(bytes.NewReader(unhex(t, request)), control.MaxItem)
		require.NoError(t, err, what)
		require.IsType(t, messages.BadRequest{}, m.Payload, what)
	}
}
