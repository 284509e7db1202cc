package actors_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/klauspost/compress/zlib"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"albatross/actors/supervise"
	"albatross/messages"
)

const megabyte = 1 << 20

func withBlocks(w *world) { w.config.RootPolicy.Block = messages.Some(20) }

func (w *world) blocks(name string) []messages.NamedBlock {
	w.t.Helper()
	return w.ask(name, messages.BlockList{}).(messages.SuccessBlocks).List
}

// set streams contents after the command.
func (w *world) set(name string, compressed bool, contents io.Reader) messages.Payload {
	w.t.Helper()
	c := w.newClient()
	c.stream = contents
	w.serve(messages.AtVMMD, c)
	c.send(name, messages.BlockSet{Compressed: compressed})
	answer := c.receive().Payload
	<-c.closed
	return answer
}

// dump reads the contents that are streamed after the answer.
func (w *world) dump(name string, level int) []byte {
	w.t.Helper()
	c := w.connect(messages.AtVMMD)
	defer c.Close()
	c.send(name, messages.BlockDump{Level: level})
	require.Equal(w.t, messages.SuccessDump{Compressed: level > 0}, c.receive().Payload)
	data, complete := c.dumped()
	require.True(w.t, complete)
	return data
}

// tryDump does the same, where anything may fail.
func (w *world) tryDump(name string) (data []byte, complete bool) {
	w.t.Helper()
	c := w.connect(messages.AtVMMD)
	defer c.Close()
	c.send(name, messages.BlockDump{})
	if _, ok := c.receive().Payload.(messages.SuccessDump); !ok {
		return nil, false
	}
	return c.dumped()
}

// dumped reads a dump until the dump or the connection ends.
func (c *client) dumped() (data []byte, complete bool) {
	c.w.t.Helper()
	for {
		select {
		case m := <-c.out:
			chunk := m.Payload.(messages.DataBlock).Chunk
			if !chunk.OK {
				<-c.closed
				return data, true
			}
			data = append(data, chunk.Value...)
		case <-c.closed:
			return data, false
		case <-time.After(deadline):
			require.FailNow(c.w.t, "the dump does not go on")
		}
	}
}

func inflated(t *testing.T, data []byte) []byte {
	z, err := zlib.NewReader(bytes.NewReader(data))
	require.NoError(t, err)
	data, err = io.ReadAll(z)
	require.NoError(t, err)
	return data
}

func padded(contents string, size int) []byte {
	return append([]byte(contents), make([]byte, size*megabyte-len(contents))...)
}

func TestBlockDevices(t *testing.T) {
	w := newWorld(t, withBlocks)
	w.succeeds("added block device", "a:disk", messages.BlockAdd{Size: 2})
	w.succeeds("added block device", ":other", messages.BlockAdd{Size: 1})
	w.fails("block device with same name already exists", "a:disk", messages.BlockAdd{Size: 1})
	require.Equal(t, success("set block device"), w.set("a:disk", false, strings.NewReader("hello")))
	require.Equal(t, padded("hello", 2), w.dump("a:disk", 0))
	require.Equal(t, padded("hello", 2), inflated(t, w.dump("a:disk", 9)))
	require.Equal(t, success("set block device"), w.set("a:disk", true, bytes.NewReader(deflated(t, []byte("compressed")))))
	require.Equal(t, padded("compressed", 2), w.dump("a:disk", 0))
	require.Equal(t, success("set block device"), w.set("a:disk", false, strings.NewReader("")))
	require.Equal(t, padded("", 2), w.dump("a:disk", 0), "padded with zeros")

	require.Equal(t, []messages.NamedBlock{{Name: w.name(":other"), Size: 1}, {Name: w.name("a:disk"), Size: 2}}, w.blocks(":"))
	require.Equal(t, []messages.NamedBlock{{Name: w.name(":disk"), Size: 2}}, w.blocks("a:"), "relative to the path")
	require.Equal(t, []messages.NamedBlock{{Name: w.name("a:disk"), Size: 2}}, w.blocks("a:disk"))
	require.Empty(t, w.blocks("a:none"))

	w.restart()
	require.Equal(t, []messages.NamedBlock{{Name: w.name(":disk"), Size: 2}}, w.blocks("a:"), "the files are what there is")
	w.succeeds("removed block", "a:disk", messages.BlockRemove{})
	w.fails("remove block: not found", "a:disk", messages.BlockRemove{})
	w.succeeds("removed block", ":other", messages.BlockRemove{})
	w.requireNoBlocks()
}

func TestOldBlockCommands(t *testing.T) {
	w := newWorld(t, withBlocks)
	w.succeeds("added block device", ":d", messages.BlockOldAdd{Size: 1, Data: messages.Some([]byte("first"))})
	require.Equal(t, messages.SuccessOldBlock{Data: padded("first", 1)}, w.ask(":d", messages.BlockOldDump{}))
	w.succeeds("set block device", ":d", messages.BlockOldSet{Compressed: true, Data: deflated(t, []byte("second"))})
	dump := w.ask(":d", messages.BlockOldDump{Level: 6}).(messages.SuccessOldBlock)
	require.True(t, dump.Compressed)
	require.Equal(t, padded("second", 1), inflated(t, dump.Data))
	w.fails("data exceeds block size", ":d", messages.BlockOldSet{Data: make([]byte, megabyte+1)})
	require.Equal(t, padded("second", 1), w.dump(":d", 0))

	w.succeeds("added block device", ":e", messages.BlockOldAdd{Size: 1, Compressed: true, Data: messages.Some(deflated(t, []byte("third")))})
	require.Equal(t, padded("third", 1), w.dump(":e", 0))
	w.succeeds("added block device", ":f", messages.BlockOldAdd{Size: 1})
	for _, refused := range []messages.BlockOldAdd{
		{Size: 1, Compressed: true, Data: messages.Some([]byte("rubbish"))},
		{Size: 1, Data: messages.Some(make([]byte, megabyte+1))},
	} {
		require.IsType(t, messages.Failure{}, w.ask(":g", refused))
		require.Empty(t, w.blocks(":g"), "nothing is left of it")
	}
	w.requireFiles(":d", ":e", ":f")
}

func TestWhatABlockCommandIsRefusedFor(t *testing.T) {
	w := newWorld(t, withBlocks)
	w.succeeds("added block device", ":d", messages.BlockAdd{Size: 1})
	for says, command := range map[string]messages.Command{
		"block device policy limit of 20 MB (used 1 MB) would be exceeded by the request (20 MB)": messages.BlockAdd{Size: 20},
		"cannot make a block device of 0 MB: 1 is the smallest":                                   messages.BlockAdd{},
		"cannot make a block device of -1 MB: 1 is the smallest":                                  messages.BlockAdd{Size: -1},
		"cannot compress at level 10: 0 to 9 are possible":                                        messages.BlockDump{Level: 10},
		"remove block: not found":                                                                 messages.BlockRemove{},
		"set block: not found":                                                                    messages.BlockOldSet{},
		"dump block: not found":                                                                   messages.BlockDump{},
	} {
		w.fails(says, ":x", command)
	}
	w.fails("cannot create a block device at the path a:: give it a name", "a:", messages.BlockAdd{Size: 1})
	require.Equal(t, fails("set block: not found"), w.set(":x", false, strings.NewReader("drained")))
	w.requireFiles(":d")
	require.Equal(t, success("added policy"), w.addPolicy("a:", policy(2, 64)))
	w.fails("no block devices are allowed by policy", "a:b:x", messages.BlockAdd{Size: 1})
}

// TestASetThatFailsKeepsTheContents: the device can be used at once, too.
func TestASetThatFailsKeepsTheContents(t *testing.T) {
	w := newWorld(t, withBlocks)
	w.succeeds("added block device", ":d", messages.BlockAdd{Size: 1})
	require.Equal(t, success("set block device"), w.set(":d", false, strings.NewReader("precious")))
	large := func() io.Reader { return io.LimitReader(zeros{}, 3*megabyte) }
	for says, contents := range map[string]io.Reader{
		"stream exceeds size": large(),
		"cannot set block device :d: the stream was cut off: unexpected EOF": io.MultiReader(strings.NewReader("half"), iotest.ErrReader(io.ErrUnexpectedEOF)),
	} {
		require.Equal(t, fails(says), w.set(":d", false, contents))
		require.Equal(t, padded("precious", 1), w.dump(":d", 0))
	}
	bomb := deflated(t, make([]byte, 2*megabyte))
	require.Equal(t, fails("stream exceeds size"), w.set(":d", true, bytes.NewReader(bomb)))
	for _, broken := range []string{"rubbish", string(bomb[:100]), string(deflated(t, []byte("x"))) + "more"} {
		answer := w.set(":d", true, strings.NewReader(broken)).(messages.Failure)
		require.Contains(t, answer.Text, "cannot decompress")
	}
	require.Equal(t, padded("precious", 1), w.dump(":d", 0))
	w.requireFiles(":d")
}

// TestASetThatIsCutOffIsLogged with its whole cause. The cause may name a path, of which the client
// reads only the last element.
func TestASetThatIsCutOffIsLogged(t *testing.T) {
	var log bytes.Buffer
	w := newWorld(t, withBlocks, func(w *world) { w.log = &log })
	w.succeeds("added block device", ":d", messages.BlockAdd{Size: 1})
	cut := iotest.ErrReader(errors.New("read unix /run/albatross/util/vmmd.sock: connection reset by peer"))
	require.Equal(t, fails("cannot set block device :d: the stream was cut off: read unix vmmd.sock: connection reset by peer"), w.set(":d", false, cut))
	w.shutdown()
	require.Contains(t, log.String(), "read unix /run/albatross/util/vmmd.sock: connection reset by peer")
	w.start()
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) {
	clear(b)
	return len(b), nil
}

// TestABlockDeviceIsUsedByOneAtATime: one unikernel, one set or one dump.
func TestABlockDeviceIsUsedByOneAtATime(t *testing.T) {
	w := newWorld(t, withBlocks)
	w.succeeds("added block device", "a:storage", messages.BlockAdd{Size: 1})
	config := guest("disk", "fill")
	config.Blocks = []messages.BlockDevice{{Name: "storage"}}
	config.Fail = messages.FailBehaviour{Restart: true, Codes: []int{0}} // it has the device between two runs, too

	hold := make(chan struct{})
	c := w.newClient()
	c.stream = io.MultiReader(strings.NewReader("x"), heldReader(hold))
	w.serve(messages.AtVMMD, c)
	c.send("a:storage", messages.BlockSet{})
	w.until("it is busy", func() bool { return w.blocks("a:storage")[0].Active })
	w.fails("set block: is in use", "a:storage", messages.BlockOldSet{})
	w.fails("dump block: is in use", "a:storage", messages.BlockDump{})
	w.fails("remove block: is in use", "a:storage", messages.BlockRemove{})
	w.fails("block device a:storage already in use", "a:x", create(config))
	close(hold)
	require.Equal(t, success("set block device"), c.receive().Payload)
	require.False(t, w.blocks("a:storage")[0].Active)

	w.succeeds("created unikernel", "a:x", create(config))
	require.True(t, w.blocks("a:storage")[0].Active)
	w.fails("set block: is in use", "a:storage", messages.BlockOldSet{})
	w.fails("block device a:storage already in use", "a:y", create(config))
	info := w.infos("a:x")[0].Info
	require.Equal(t, []messages.BlockInfo{{Name: "storage", Size: 1}}, info.Blocks)
	require.IsType(t, messages.SuccessText{}, w.ask("a:x", messages.UnikernelDestroy{})) // whether it runs at this moment or not
	require.False(t, w.blocks("a:storage")[0].Active)
	w.succeeds("removed block", "a:storage", messages.BlockRemove{})
}

// TestALinkedBlockDevice: a unikernel, a set and a dump use what the link leads to.
func TestALinkedBlockDevice(t *testing.T) {
	w := newWorld(t, withBlocks)
	volume := filepath.Join(t.TempDir(), "volume")
	require.NoError(t, os.WriteFile(volume, padded("before", 1), 0o600))
	require.NoError(t, os.Symlink(volume, filepath.Join(w.dir, "block", ":volume")))
	w.restart()
	require.Equal(t, []messages.NamedBlock{{Name: w.name(":volume"), Size: 1}}, w.blocks(":"))
	require.Equal(t, padded("before", 1), w.dump(":volume", 0))
	config := guest("disk", "write", "there")
	config.Blocks = []messages.BlockDevice{{Name: "storage", Device: messages.Some("volume")}}
	w.succeeds("created unikernel", ":x", create(config))
	w.until("it is written", func() bool {
		data, err := os.ReadFile(volume)
		return err == nil && bytes.Contains(data, []byte("there"))
	})
	w.ask(":x", messages.UnikernelDestroy{}) // whether it runs or has ended
	w.until("it is free", func() bool { return !w.blocks(":volume")[0].Active })
	require.Equal(t, success("set block device"), w.set(":volume", false, strings.NewReader("after")))
	data, err := os.ReadFile(volume)
	require.NoError(t, err)
	require.Equal(t, padded("after", 1), data)
	w.succeeds("removed block", ":volume", messages.BlockRemove{})
	require.FileExists(t, volume)
}

// TestABlockDeviceBelowThePathOfItsUnikernel is given with a colon.
func TestABlockDeviceBelowThePathOfItsUnikernel(t *testing.T) {
	w := newWorld(t, withBlocks)
	w.succeeds("added block device", "nat0:mirror", messages.BlockAdd{Size: 1})
	config := guest("disk", "write", "there")
	config.Fail = messages.FailBehaviour{Restart: true, Codes: []int{0}} // it has the device between two runs, too
	config.Blocks = []messages.BlockDevice{{Name: "storage", Device: messages.Some("nat0:mirror")}}
	w.fails("block device other:nat0:mirror not found", "other:x", create(config))
	w.succeeds("created unikernel", ":mirror", create(config))
	require.True(t, w.blocks("nat0:mirror")[0].Active)
	require.Equal(t, []messages.BlockInfo{{Name: "storage", Device: messages.Some("nat0:mirror"), Size: 1}}, w.infos(":mirror")[0].Info.Blocks)
	w.restart()
	require.True(t, w.blocks("nat0:mirror")[0].Active)
	w.fails("remove block: is in use", "nat0:mirror", messages.BlockRemove{})
	w.until("it is written", func() bool {
		data, err := os.ReadFile(filepath.Join(w.dir, "block", "nat0:mirror"))
		return err == nil && !bytes.Equal(make([]byte, megabyte), data)
	})
	require.IsType(t, messages.SuccessText{}, w.ask(":mirror", messages.UnikernelDestroy{}))
}

// heldReader ends when the channel is closed.
type heldReader chan struct{}

func (h heldReader) Read([]byte) (int, error) {
	<-h
	return 0, io.EOF
}

// TestAClientThatLeavesInTheMiddle: no other client notices.
func TestAClientThatLeavesInTheMiddle(t *testing.T) {
	w := newWorld(t, withBlocks)
	w.succeeds("added block device", ":d", messages.BlockAdd{Size: 20})
	c := w.newClient()
	c.stream = io.MultiReader(strings.NewReader("half"), closedReader{c})
	w.serve(messages.AtVMMD, c)
	c.send(":d", messages.BlockSet{})
	w.until("it is busy", func() bool { return w.blocks(":d")[0].Active })
	c.Close()
	w.until("it is free", func() bool { return !w.blocks(":d")[0].Active })

	c = w.connect(messages.AtVMMD)
	c.send(":d", messages.BlockDump{})
	require.IsType(t, messages.SuccessDump{}, c.receive().Payload)
	require.True(t, w.blocks(":d")[0].Active)
	c.Close()
	w.until("it is free", func() bool { return !w.blocks(":d")[0].Active })
	require.Equal(t, padded("", 20), w.dump(":d", 0))
}

// closedReader waits until the client has left.
type closedReader struct{ c *client }

func (r closedReader) Read([]byte) (int, error) {
	<-r.c.closed
	return 0, errors.New("the client has left")
}

func (w *world) name(s string) messages.Name {
	n, err := messages.ParseName(s)
	require.NoError(w.t, err)
	return n
}

// requireFiles checks that these block devices exist, and no other file.
func (w *world) requireFiles(names ...string) {
	w.t.Helper()
	entries, err := os.ReadDir(filepath.Join(w.dir, "block"))
	require.NoError(w.t, err)
	var found []string
	for _, e := range entries {
		found = append(found, e.Name())
	}
	require.ElementsMatch(w.t, names, found)
}

func (w *world) requireNoBlocks() { w.requireFiles() }

// TestADumpThatFailsBeforeItsAnswerIsRead: the client gets the answer, and then the end of the
// stream without any contents.
func TestADumpThatFailsBeforeItsAnswerIsRead(t *testing.T) {
	failed := make(chan struct{})
	w := newWorld(t, withBlocks, func(w *world) {
		w.fault = func(_ string, message any) {
			switch m := message.(type) {
			case messages.BlockChunk:
				if m.Err != "" {
					close(failed)
				}
			default:
				if fmt.Sprintf("%T", m) == "block.partRead" {
					panic("injected")
				}
			}
		}
	})
	w.succeeds("added block device", ":disk", messages.BlockAdd{Size: 1})
	c := w.connect(messages.AtVMMD)
	c.send(":disk", messages.BlockDump{})
	<-failed // the session gets the failure while it waits for the client
	require.Equal(t, messages.SuccessDump{}, c.receive().Payload)
	data, complete := c.dumped()
	require.False(t, complete)
	require.Empty(t, data)
}

// TestReservingABlockDevice: the command belongs to the control socket.
func TestReservingABlockDevice(t *testing.T) {
	w := newWorld(t, withBlocks)
	w.succeeds("added block device", ":disk", messages.BlockAdd{Size: 3})
	var stat unix.Stat_t
	c := w.connect(messages.AtControl)
	c.send(":disk", messages.BlockReserve{})
	require.Equal(t, success("reserved block device"), c.receive().Payload)
	require.NoError(t, unix.Stat(w.guests.Blocks.Path(w.name(":disk")), &stat))
	require.GreaterOrEqual(t, stat.Blocks*512, int64(3<<20))

	c = w.connect(messages.AtControl)
	c.send(":nosuch", messages.BlockReserve{})
	require.Equal(t, messages.Failure{Text: "reserve block: not found"}, c.receive().Payload)
}

// TestAFailureOverABlockDevice: what is listed is what there is, whatever the actor has done when it
// fails, and whatever its client is told.
func TestAFailureOverABlockDevice(t *testing.T) {
	for title, command := range map[string]messages.Command{
		"add": messages.BlockAdd{Size: 1}, "remove": messages.BlockRemove{}, "set": messages.BlockOldSet{Data: []byte("new")},
	} {
		for fault, handled := range map[supervise.Fault][]string{
			supervise.CrashBefore: {"messages.BlockDo", "block.worked"},
			supervise.CrashAfter:  {"messages.BlockDo", "block.worked"},
		} {
			for _, message := range handled {
				t.Run(fmt.Sprint(title, " ", fault, " ", message), func(t *testing.T) {
					faults := supervise.NewFaults(0, nil)
					w := newWorld(t, withBlocks, func(w *world) { w.faults = faults })
					if title != "add" {
						w.succeeds("added block device", "a:d", messages.BlockAdd{Size: 1})
					}
					faults.Set(supervise.Rule{Fault: fault, Kind: "block", Type: message, Nth: 1})
					answer := w.ask("a:d", command)
					exists := func() bool { return w.config.Blocks.Exists(w.name("a:d")) }
					w.until("the host knows what has become of it", func() bool {
						return faults.Injected() == 1 && w.system.Population()["block"].Actors == 0
					})
					require.Equal(t, exists(), len(w.blocks("a:")) == 1, "the answer was %v", answer)
					if _, refused := answer.(messages.Failure); !refused {
						require.Equal(t, title != "remove", exists(), "what was acknowledged")
					}
				})
			}
		}
	}
}
