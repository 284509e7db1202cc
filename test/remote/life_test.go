package remote

import (
	"encoding/binary"
	"io"
	"testing"

	"github.com/stretchr/testify/require"

	"albatross/messages"
	"albatross/sockets/certificate"
	"albatross/sockets/wire"
	"albatross/test/guests"
)

func framed(chunk []byte) []byte {
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(chunk))), chunk...)
}

var (
	alices = messages.Policy{Unikernels: 4, CPUIDs: []int{0}, Memory: 128, Block: messages.Some(20)}
	info   = messages.UnikernelInfo{Form: 6}
)

// config returns one that runs an image that prints its arguments and ticks.
func config(image []byte, args ...string) messages.Config {
	return messages.Config{Image: image, Arguments: messages.Arguments{
		Memory: 16, CPUIDs: []int{0}, CPUs: 1, Argv: messages.Some(args),
	}}
}

func creates(config messages.Config) messages.UnikernelCreate {
	return messages.UnikernelCreate{Form: 5, Config: config}
}

// TestLife does all that a tenant does with a unikernel through the endpoint.
func TestLife(t *testing.T) {
	w := newWorld(t)
	alice := w.below(w.root, "alice", alices)
	image := guests.Image("hello", "spt")

	answer := w.ask(w.leaf(alice, ".", info))
	require.Equal(t, messages.SuccessInfos{Form: 6}, answer.Payload)
	require.Equal(t, messages.Header{Version: 5, Name: must(t, "alice:")}, answer.Header)

	t.Run("an image as one chunk", func(t *testing.T) {
		answer := w.send(w.leaf(alice, "one", creates(config(nil))), image)
		require.Equal(t, text("created unikernel"), answer.Payload)
		require.Equal(t, must(t, "alice:one"), answer.Header.Name)
	})
	t.Run("an image as many chunks", func(t *testing.T) {
		chunks := [][]byte{image[:1], image[1:1000], image[1000:5000], image[5000:]}
		require.Equal(t, text("created unikernel"), w.send(w.leaf(alice, "many", creates(config(nil))), chunks...).Payload)
	})
	t.Run("an image in the certificate", func(t *testing.T) {
		require.Equal(t, text("created unikernel"), w.ask(w.leaf(alice, "inside", creates(config(image)))).Payload)
	})
	t.Run("it is refused, and the stream is read", func(t *testing.T) {
		answer := w.send(w.leaf(alice, "one", creates(config(nil))), make([]byte, 8<<20))
		require.Contains(t, answer.Payload.(messages.Failure).Text, "already")
	})
	t.Run("no image at all", func(t *testing.T) {
		require.IsType(t, messages.Failure{}, w.send(w.leaf(alice, "none", creates(config(nil)))).Payload)
	})
	t.Run("force-create", func(t *testing.T) {
		command := creates(config(nil, "again"))
		command.Force = true
		require.Equal(t, text("created unikernel"), w.send(w.leaf(alice, "one", command), image).Payload)
	})
	t.Run("info", func(t *testing.T) {
		list := w.ask(w.leaf(w.root, ".", info)).Payload.(messages.SuccessInfos).List
		require.Len(t, list, 3)
		require.Equal(t, messages.Path("alice"), list[0].Name.Path)
		require.Empty(t, w.ask(w.leaf(alice, "nobody", info)).Payload.(messages.SuccessInfos).List)
	})
	t.Run("its image", func(t *testing.T) {
		answer := w.ask(w.leaf(alice, "one", messages.UnikernelGet{Form: 3}))
		require.Equal(t, messages.SuccessImage{Image: image}, answer.Payload)
	})
	t.Run("its console", func(t *testing.T) {
		g := w.connect(w.leaf(alice, "one", messages.ConsoleSubscribe{Count: messages.Some(10)}))
		require.Equal(t, text("subscribed"), g.hear().Payload)
		for range 3 { // lines that exist, and lines to come
			line := g.hear()
			require.Equal(t, messages.Header{Version: 5, Name: must(t, "alice:one")}, line.Header)
			require.IsType(t, messages.DataConsole{}, line.Payload)
		}
		require.NoError(t, g.Close())
	})
	t.Run("restart", func(t *testing.T) {
		answer := w.ask(w.leaf(alice, "one", messages.UnikernelRestart{Form: messages.RestartSame}))
		require.IsType(t, messages.SuccessText{}, answer.Payload)
	})
	t.Run("destroy", func(t *testing.T) {
		require.Equal(t, text("destroyed unikernel"), w.ask(w.leaf(alice, "one", messages.UnikernelDestroy{})).Payload)
		require.Equal(t, messages.Failure{Text: "destroy: not found"}, w.ask(w.leaf(alice, "one", messages.UnikernelDestroy{})).Payload)
	})
	t.Run("policies", func(t *testing.T) {
		list := w.ask(w.leaf(alice, ".", messages.PolicyInfo{})).Payload.(messages.SuccessPolicies).List
		require.Equal(t, []messages.NamedPolicy{{Policy: alices}}, list)
	})
}

// TestPoliciesOfTheChain: each command sets them again, and one that is refused ends the command.
func TestPoliciesOfTheChain(t *testing.T) {
	w := newWorld(t)
	alice := w.below(w.root, "alice", alices)
	smaller := alices
	smaller.Unikernels = 1
	bob := w.below(alice, "bob", smaller)
	require.IsType(t, messages.SuccessInfos{}, w.ask(w.leaf(bob, ".", info)).Payload)
	policies := func() map[string]int {
		found := map[string]int{}
		for _, p := range w.local(messages.Name{}, messages.PolicyInfo{}).(messages.SuccessPolicies).List {
			found[p.Name.String()] = p.Policy.Unikernels
		}
		return found
	}
	require.Equal(t, 4, policies()["alice:"])
	require.Equal(t, 1, policies()["alice:bob:"])

	alices := alices
	alices.Unikernels = 5
	other := w.below(w.root, "alice", alices)
	for range 2 {
		w.ask(w.leaf(alice, ".", info))
		require.Equal(t, 4, policies()["alice:"])
		w.ask(w.leaf(other, ".", messages.ConsoleListInactive{}))
		require.Equal(t, 4, policies()["alice:"], "it is for commands to the daemon only")
		w.ask(w.leaf(other, ".", info))
		require.Equal(t, 5, policies()["alice:"])
	}

	larger := alices
	larger.Memory = 999
	mallory := w.below(alice, "mallory", larger)
	answer := w.send(w.leaf(mallory, "x", creates(config(nil))), guests.Image("hello", "spt"))
	require.Contains(t, answer.Payload.(messages.Failure).Text, "cannot set the policy of alice:mallory:")
	require.Empty(t, w.local(messages.Name{}, info).(messages.SuccessInfos).List)
	require.NotContains(t, policies(), "alice:mallory:")
}

// TestPoliciesBelowWhatRuns: a tenant whose new policy allows less than what runs still reads its
// console.
func TestPoliciesBelowWhatRuns(t *testing.T) {
	w := newWorld(t)
	alice := w.below(w.root, "alice", alices)
	image := guests.Image("hello", "spt")
	for _, name := range []string{"one", "two"} {
		require.Equal(t, text("created unikernel"), w.send(w.leaf(alice, name, creates(config(nil))), image).Payload)
	}
	less := alices
	less.Memory = 17
	poor := w.below(w.root, "alice", less)
	require.IsType(t, messages.Failure{}, w.ask(w.leaf(poor, ".", info)).Payload)
	g := w.connect(w.leaf(poor, "one", messages.ConsoleSubscribe{Count: messages.Some(10)}))
	require.Equal(t, text("subscribed"), g.hear().Payload)
	require.IsType(t, messages.DataConsole{}, g.hear().Payload)
	require.NoError(t, g.Close())
	g = w.connect(w.leaf(poor, "one", messages.StatsSubscribe{}))
	require.Equal(t, text("subscribed"), g.hear().Payload)
	require.NoError(t, g.Close())
}

// TestAPolicyThatAllowsNothing belongs to a tenant to whom nothing has been given yet. Queries are
// answered, and everything else is refused. What exists stays as it is.
func TestAPolicyThatAllowsNothing(t *testing.T) {
	w := newWorld(t)
	alice, bob := w.below(w.root, "alice", messages.Policy{}), w.below(w.root, "bob", alices)
	below := w.below(alice, "below", alices)
	for _, at := range []*certificate.Authority{alice, below, w.below(bob, "none", messages.Policy{Unikernels: 1, Memory: 32})} {
		require.Empty(t, w.ask(w.leaf(at, ".", info)).Payload.(messages.SuccessInfos).List)
		require.Empty(t, w.ask(w.leaf(at, ".", messages.PolicyInfo{})).Payload.(messages.SuccessPolicies).List)
		require.Empty(t, w.ask(w.leaf(at, ".", messages.BlockList{})).Payload.(messages.SuccessBlocks).List)
		for _, command := range []messages.Command{messages.UnikernelDestroy{}, messages.BlockAdd{Size: 1}, messages.BlockRemove{}, messages.UnikernelRestart{Form: messages.RestartSame}} {
			require.Contains(t, w.ask(w.leaf(at, "x", command)).Payload.(messages.Failure).Text, "allows nothing", "%T", command)
		}
		answer := w.send(w.leaf(at, "x", creates(config(nil))), guests.Image("hello", "spt"))
		require.Contains(t, answer.Payload.(messages.Failure).Text, "allows nothing, and so no create")
	}
	list := w.local(messages.Name{}, messages.PolicyInfo{}).(messages.SuccessPolicies).List
	require.Len(t, list, 2, "that of the machine, and bob's")

	// A tenant that has lost everything still sees what exists.
	require.Equal(t, text("created unikernel"), w.send(w.leaf(bob, "one", creates(config(nil))), guests.Image("hello", "spt")).Payload)
	poor := w.below(w.root, "bob", messages.Policy{})
	require.Len(t, w.ask(w.leaf(poor, ".", info)).Payload.(messages.SuccessInfos).List, 1)
}

// TestBlockDevices moves contents in both directions.
func TestBlockDevices(t *testing.T) {
	w := newWorld(t)
	alice := w.below(w.root, "alice", alices)
	require.Equal(t, text("added block device"), w.ask(w.leaf(alice, "disk", messages.BlockAdd{Size: 3})).Payload)
	require.Len(t, w.ask(w.leaf(alice, ".", messages.BlockList{})).Payload.(messages.SuccessBlocks).List, 1)

	contents := make([]byte, 3<<20)
	for i := range contents {
		contents[i] = byte(i * i >> 8)
	}
	set := w.leaf(alice, "disk", messages.BlockSet{})
	require.Equal(t, text("set block device"), w.send(set, contents[:7], contents[7:2_000_000], contents[2_000_000:]).Payload)
	require.Equal(t, contents, w.dump(t, alice, "disk"))

	t.Run("as one chunk, in the old form", func(t *testing.T) {
		require.Equal(t, text("set block device"), w.send(w.leaf(alice, "disk", messages.BlockOldSet{}), contents[1000:]).Payload)
		require.Equal(t, contents[1000:], w.dump(t, alice, "disk")[:len(contents)-1000])
	})
	t.Run("too much", func(t *testing.T) {
		answer := w.send(set, contents, make([]byte, 20<<20))
		require.Equal(t, messages.Failure{Text: "stream exceeds size"}, answer.Payload)
	})
	t.Run("not there", func(t *testing.T) {
		answer := w.send(w.leaf(alice, "nope", messages.BlockSet{}), make([]byte, 20<<20))
		require.Equal(t, messages.Failure{Text: "set block: not found"}, answer.Payload)
		answer = w.ask(w.leaf(alice, "nope", messages.BlockDump{}))
		require.Equal(t, messages.Failure{Text: "dump block: not found"}, answer.Payload)
	})
	t.Run("cut off", func(t *testing.T) {
		before := w.dump(t, alice, "disk")
		g := w.connect(set)
		_, err := g.Write(framed(make([]byte, 1<<20)))
		require.NoError(t, err)
		require.NoError(t, g.Close())
		require.Equal(t, before, w.dump(t, alice, "disk"))
	})
	w.until("the block device is not in use, and is removed", func() bool {
		answer := w.ask(w.leaf(alice, "disk", messages.BlockRemove{})).Payload
		if answer == (messages.Failure{Text: "remove block: is in use"}) { // in use by the set that was cut off, or by the dump after it
			return false
		}
		require.Equal(t, text("removed block"), answer)
		return true
	})
}

// dump reads a block device. Each message must fit into a record.
func (w *world) dump(t *testing.T, a *certificate.Authority, name string) (contents []byte) {
	t.Helper()
	var answer messages.Wire
	w.until("the block device is not in use", func() bool {
		g := w.connect(w.leaf(a, name, messages.BlockDump{}))
		defer func() { _ = g.Close() }()
		if answer = g.hear(); answer.Payload == (messages.Failure{Text: "dump block: is in use"}) {
			return false
		}
		require.Equal(t, messages.SuccessDump{}, answer.Payload)
		contents = g.contents(t)
		return true
	})
	return contents
}

func (g *guest) contents(t *testing.T) (all []byte) {
	t.Helper()
	for {
		chunk := g.hear().Payload.(messages.DataBlock).Chunk
		if !chunk.OK {
			_, err := wire.ReadFrame(g, wire.MaxFrame)
			require.Equal(t, io.EOF, err)
			return all
		}
		require.LessOrEqual(t, len(chunk.Value), 16_000)
		all = append(all, chunk.Value...)
	}
}
