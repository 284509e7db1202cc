package wire_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"albatross/messages"
	"albatross/sockets/wire"
)

// sent returns a message as a receiver decodes it.
func sent(t *testing.T, p messages.Payload) (messages.Wire, error) {
	t.Helper()
	frame, err := wire.Append(nil, messages.Wire{Header: messages.Header{Version: messages.CurrentVersion}, Payload: p})
	require.NoError(t, err)
	return wire.Decode(frame)
}

// TestLimitsOfCommands: a decoded command takes little memory, however long the frame is. An image
// is part of the frame, and may be as long as the frame.
func TestLimitsOfCommands(t *testing.T) {
	creates := func(change func(*messages.Config)) messages.UnikernelCreate {
		config := messages.Config{Image: make([]byte, 8<<20), Arguments: messages.Arguments{Memory: 16, CPUIDs: []int{0}, CPUs: 1}}
		change(&config)
		return messages.UnikernelCreate{Form: 5, Config: config}
	}
	arguments := func(n, length int) func(*messages.Config) {
		list := make([]string, n)
		for i := range list {
			list[i] = strings.Repeat("x", length)
		}
		return func(c *messages.Config) { c.Argv = messages.Some(list) }
	}
	for title, tc := range map[string]struct {
		change func(*messages.Config)
		want   string
	}{
		"nothing special":   {func(*messages.Config) {}, ""},
		"many arguments":    {arguments(4096, 1), ""},
		"one more":          {arguments(4097, 1), "too many elements for a command"},
		"a long argument":   {arguments(1, 1<<20), ""},
		"a longer one":      {arguments(1, 1<<20+1), "the texts of the command are longer than 1048576 bytes"},
		"two long ones":     {arguments(2, 1<<19+1), "the texts of the command are longer than 1048576 bytes"},
		"millions of codes": {func(c *messages.Config) { c.Fail = messages.FailBehaviour{Restart: true, Codes: upTo(1 << 20)} }, "too many elements"},
	} {
		t.Run(title, func(t *testing.T) {
			m, err := sent(t, creates(tc.change))
			if tc.want != "" {
				require.ErrorContains(t, err, tc.want)
				return
			}
			require.NoError(t, err)
			require.Len(t, m.Payload.(messages.UnikernelCreate).Config.Image, 8<<20)
		})
	}
}

// upTo returns the numbers from 0 on.
func upTo(n int) (list []int) {
	for i := range n {
		list = append(list, i)
	}
	return list
}

// TestAnswersHaveNoSuchLimits: a host may run many unikernels.
func TestAnswersHaveNoSuchLimits(t *testing.T) {
	list := make([]messages.NamedBlock, 10_000)
	for i := range list {
		list[i] = messages.NamedBlock{Name: messages.Name{Label: messages.Label(strings.Repeat("x", 60))}, Size: i}
	}
	m, err := sent(t, messages.SuccessBlocks{List: list})
	require.NoError(t, err)
	require.Len(t, m.Payload.(messages.SuccessBlocks).List, len(list))
}
