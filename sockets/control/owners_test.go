package control_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"albatross/messages"
	"albatross/sockets/control"
)

// TestRequestsAboutOwnersAreTheseBytes: to change them is to change the protocol.
func TestRequestsAboutOwnersAreTheseBytes(t *testing.T) {
	policy := messages.Policy{Unikernels: 2, Memory: 100, CPUIDs: []int{0, 1}, Block: messages.Some(0), Bridges: []string{"br"}, Owner: "me"}
	for golden, command := range map[string]messages.Command{
		"a3 0101 02 66 6f776e657273 03 63 613a78":                                                                       messages.OwnerList{},
		"a5 0101 02 63 6f776e 03 63 613a78 0b 62 6d65 0c 65 626c6f636b":                                                 messages.OwnRequest{Kind: messages.KindBlock, Owner: "me"},
		"a5 0101 02 6c 6372656174652d626c6f636b 03 63 613a78 0a 05 0b 62 6d65":                                          messages.BlockDeploy{Size: 5, Owner: "me"},
		"a5 0101 02 6a 6164642d706f6c696379 03 63 613a78 0b 62 6d65 0d a5 0102 02 1864 03 82 00 01 04 00 05 81 62 6272": messages.PolicyDeploy{Policy: policy},
	} {
		requireRequest(t, golden, name(t, "a:x"), command)
	}
}

// TestWhatIsNoOwner, no kind of thing and no policy is refused with the reason.
func TestWhatIsNoOwner(t *testing.T) {
	for says, command := range map[string]messages.Command{
		"an owner is 1 to 64 letters": messages.OwnRequest{Kind: messages.KindBlock, Owner: "a b"},
		"there are owners of":         messages.OwnRequest{Kind: "other", Owner: "me"},
		"out of range":                messages.PolicyDeploy{Policy: messages.Policy{Unikernels: -1}},
		"an owner is 1 to 64":         messages.BlockDeploy{Owner: messages.Owner(strings.Repeat("x", 65))},
		"lacks":                       nil,
	} {
		request := unhex(t, "a3 0101 02 6a 6164642d706f6c696379 03 63 613a78") // a policy without one
		if command != nil {
			var err error
			request, err = control.AppendRequest(nil, name(t, "a:x"), command)
			require.NoError(t, err)
		}
		m, err := control.Read(bytes.NewReader(request), control.MaxItem)
		require.NoError(t, err)
		bad, ok := m.Payload.(messages.BadRequest)
		require.True(t, ok, "%#v", m.Payload)
		require.Contains(t, string(bad.Why), says)
	}
}

func TestListOfOwners(t *testing.T) {
	want := messages.SuccessOwners{List: []messages.Owned{
		{Kind: messages.KindPolicy, Name: name(t, "a:"), Owner: "me"}, {Kind: messages.KindUnikernel, Name: name(t, "a:x"), Owner: "team/b"},
	}}
	answer, err := control.Append(nil, messages.Wire{Payload: want})
	require.NoError(t, err)
	got, err := control.ReadOwners(bytes.NewReader(answer))
	require.NoError(t, err)
	require.Equal(t, want, got)
}
