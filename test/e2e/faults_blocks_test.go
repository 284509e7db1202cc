package e2e

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"albatross/messages"
	"albatross/sockets/wire"
)

// TestOverdrawnBlocks: a block device below a path exceeds the limit of that path when the daemon
// starts.
func TestOverdrawnBlocks(t *testing.T) {
	h := victim(t)
	before := h.state()
	h.untilStored()
	require.NoError(t, h.stop())
	h.putBlock("a:x:three", 50)
	h.start()
	require.Equal(t, before.policies, h.state().policies)
	require.Equal(t, before.unikernels, h.state().unikernels)
	require.Equal(t, before.processes, h.processes())
	require.Equal(t, []messages.NamedBlock{{Name: parse(t, "x:three"), Size: 50}, {Name: parse(t, "disk"), Size: 1}}, h.blocks("a:"))
	h.requireRefused("block device policy limit of 10 MB (used 51 MB) would be exceeded by the request (1 MB)",
		"a:two", messages.BlockAdd{Size: 1})
	h.requireText("removed block", "a:x:three", messages.BlockRemove{})
	h.requireText("added block device", "a:two", messages.BlockAdd{Size: 1})
}

// TestSizesOfNothing: create-block with a size of 0, less, or more than possible.
func TestSizesOfNothing(t *testing.T) {
	h := victim(t)
	refused := func(size int, text string) {
		h.unharmed(func() {
			h.requireRefused(text, "new", messages.BlockAdd{Size: size})
			h.requireRefused(text, "new", messages.BlockOldAdd{Size: size})
			h.requireRefused(text, "new", messages.BlockOldAdd{Size: size, Data: messages.Some([]byte("data"))})
		})
	}
	for _, size := range []int{0, -1, messages.MinInt} {
		refused(size, fmt.Sprintf("cannot make a block device of %d MB: 1 is the smallest", size))
	}
	endless := h.rootPolicy()
	endless.Block = messages.Some(messages.MaxInt)
	h.requireText("added policy", ":", messages.PolicyAdd{Policy: endless})
	const most = 1<<43 - 1
	h.unharmed(func() {
		answer := h.ask("new", messages.BlockAdd{Size: most})
		require.Contains(t, answer.(messages.Failure).Text, "file too large")
	})
	for _, size := range []int{most + 1, messages.MaxInt - 1} {
		refused(size, fmt.Sprintf("cannot create block device :new: a size of %d MB is not between 1 and %d", size, most))
	}
	h.requireText("added block device", "new", messages.BlockAdd{Size: 1})
}

// TestSetOfTooMuch: set-block with more data than fits. The client does not read before it has
// written everything.
func TestSetOfTooMuch(t *testing.T) {
	h := victim(t)
	const sent = 50 * megabyte
	chunk := framed(bytes.Repeat([]byte("x"), wire.ChunkSize))
	for name, refusal := range map[string]string{"a:disk": "stream exceeds size", "nowhere": "set block: not found"} {
		h.unharmed(func() {
			u := h.set(name, false)
			for range sent / wire.ChunkSize {
				_, err := u.Write(chunk)
				require.NoError(t, err)
			}
			u.end()
			u.requireAnswer(messages.Failure{Text: messages.Public(refusal)})
		})
	}
	h.unharmed(func() {
		u := h.set("a:disk", true)
		u.write(packed(make([]byte, megabyte+1)))
		u.end()
		u.requireAnswer(messages.Failure{Text: "stream exceeds size"})
	})
}

// TestSetThatIsCutOff in the middle, or in the middle of a chunk. A client that only stops sending
// reads why.
func TestSetThatIsCutOff(t *testing.T) {
	h := victim(t)
	refusal := messages.Failure{Text: "cannot set block device a:disk: the stream was cut off: unexpected EOF"}
	for _, compressed := range []bool{false, true} {
		for _, inChunk := range []bool{false, true} {
			for _, closes := range []bool{false, true} {
				h.unharmed(func() {
					u := h.set("a:disk", compressed)
					u.write(packed([]byte("new contents")))
					if inChunk {
						u.writeHalf()
					}
					if closes {
						require.NoError(t, u.Close())
					} else {
						require.NoError(t, u.CloseWrite())
						u.requireAnswer(refusal)
					}
					h.untilFree("a:disk")
				})
			}
		}
	}
}

// TestSetOfNoZlib: set-block compressed, with contents that are not.
func TestSetOfNoZlib(t *testing.T) {
	h := victim(t)
	good := packed([]byte("new contents"))
	damaged := bytes.Clone(good)
	damaged[len(damaged)-1]++
	for refusal, data := range map[string][]byte{
		"zlib: invalid header":           []byte("rubbish"),
		"unexpected EOF":                 good[:len(good)-1],
		"zlib: invalid checksum":         damaged,
		"something comes behind its end": append(bytes.Clone(good), 0),
	} {
		h.unharmed(func() {
			u := h.set("a:disk", true)
			u.write(data)
			u.end()
			u.requireAnswer(messages.Failure{Text: messages.Public("cannot set block device a:disk: cannot decompress contents: " + refusal)})
		})
	}
	u := h.set("a:disk", true)
	u.write(good)
	u.end()
	u.requireAnswer(messages.SuccessText{Text: "set block device"})
}

// TestUpperCase: an upgrade from native 2.5.0, which did not fold names to lower case. Unikernels,
// sets and dumps use the block device.
func TestUpperCase(t *testing.T) {
	h := emptyHost(t)
	h.putBlock(":UPPER", 1)
	h.putBlock("A:Deep", 2)
	h.start()
	require.Equal(t, []messages.NamedBlock{{Name: parse(t, "upper"), Size: 1}, {Name: parse(t, "a:deep"), Size: 2}}, h.blocks(":"))
	require.Equal(t, "written", h.runDisk("upper", "write", "written"))
	require.NoError(t, h.stop())
	h.start()
	require.Equal(t, "written", h.runDisk("UPPER"))
	require.Equal(t, []string{":UPPER", "A:Deep"}, h.files("db/block"))

	u := h.set("upper", false)
	u.write([]byte("set"))
	u.end()
	u.requireAnswer(messages.SuccessText{Text: "set block device"})
	dump := h.ask("upper", messages.BlockOldDump{}).(messages.SuccessOldBlock)
	require.Equal(t, append([]byte("set"), make([]byte, megabyte-3)...), dump.Data)
	require.Equal(t, []string{":UPPER", "A:Deep"}, h.files("db/block"))
	h.requireText("removed block", "upper", messages.BlockRemove{})
	require.Equal(t, []string{"A:Deep"}, h.files("db/block"))
}

// runDisk runs a unikernel with a block device of 1 MB, and returns what it finds there.
func (h *host) runDisk(device string, argv ...string) string {
	h.t.Helper()
	f := h.subscribe("disk", 0)
	config := guest("disk", argv...)
	config.Blocks = []messages.BlockDevice{{Name: "storage", Device: messages.Some(device)}}
	h.create("disk", config)
	require.Equal(h.t, fmt.Sprintf("%d bytes in sectors of 512", megabyte), f.line())
	line := f.line()
	h.until("it has ended", func() bool { return len(h.infos("disk")) == 0 })
	return line
}
