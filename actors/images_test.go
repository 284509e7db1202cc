package actors_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"albatross/actors/supervise"
	"albatross/messages"
	"albatross/runtime/fair"
)

// damageImage changes the last byte of the image of a unikernel where it is stored.
// What runs is mapped from that file, so it is changed in its place.
func (w *world) damageImage(name string) {
	w.t.Helper()
	path := w.guests.Images.Path(messages.Digest(w.infos(name)[0].Info.Digest))
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	require.NoError(w.t, err)
	defer f.Close()
	info, err := f.Stat()
	require.NoError(w.t, err)
	last := make([]byte, 1)
	_, err = f.ReadAt(last, info.Size()-1)
	require.NoError(w.t, err)
	last[0]++
	_, err = f.WriteAt(last, info.Size()-1)
	require.NoError(w.t, err)
}

// TestWorkWithImagesTakesAPlace: as long as others have all of them, nothing is
// prepared, and everything else goes on.
func TestWorkWithImagesTakesAPlace(t *testing.T) {
	var done atomic.Int64
	w := newWorld(t, withBlocks, func(w *world) {
		w.config.Work = fair.New(1)
		w.fault = func(_ string, message any) {
			switch fmt.Sprintf("%T", message) {
			case "unikernel.prepared", "host.imageRead", "block.partRead":
				done.Add(1)
			}
		}
	})
	w.succeeds("created unikernel", ":old", create(guest("hello")))
	w.succeeds("added block device", ":disk", messages.BlockAdd{Size: 1})
	begun, end := make(chan struct{}), make(chan struct{})
	var working sync.WaitGroup
	working.Go(func() {
		if err := w.config.Work.Do(t.Context(), "other", func() { close(begun); <-end }); err != nil {
			t.Error(err)
		}
	})
	<-begun
	creates, gets, dumps := w.connect(messages.AtVMMD), w.connect(messages.AtVMMD), w.connect(messages.AtVMMD)
	dumps.send(":disk", messages.BlockDump{})
	require.Equal(t, messages.SuccessDump{}, dumps.receive().Payload)
	creates.send("bob:x", create(guest("hello")))
	gets.send(":old", messages.UnikernelGet{Form: 3})
	for range 1000 { // far longer than either would take
		require.Len(t, w.infos(":"), 1)
	}
	require.Equal(t, int64(1), done.Load(), "work that did not wait") // that of the old one
	close(end)
	working.Wait()
	require.Equal(t, success("created unikernel"), creates.receive().Payload)
	require.Equal(t, messages.SuccessImage{Image: guest("hello").Image}, gets.receive().Payload)
	_, complete := dumps.dumped()
	require.True(t, complete)
}

// TestADamagedImage is neither started nor told as what was stored; who runs with it
// goes on. It is replaced by the next one that is sent.
func TestADamagedImage(t *testing.T) {
	for title, before := range map[string]func(*world){
		"at once":               func(*world) {},
		"known to a new daemon": (*world).restart,
	} {
		t.Run(title, func(t *testing.T) {
			w := newWorld(t)
			w.succeeds("created unikernel", ":x", create(guest("hello")))
			w.damageImage(":x")
			before(w)
			running := w.infos(":x")
			const damaged = "cannot open image: its contents on disk are not those that were stored: create the unikernel again, with its image"
			w.fails(damaged, ":x", messages.UnikernelRestart{})
			w.fails(damaged, ":x", messages.UnikernelGet{Form: 3})
			require.Equal(t, running, w.infos(":x"))

			w.succeeds("created unikernel", ":y", create(guest("hello")))
			w.succeeds("created unikernel", ":x", messages.UnikernelRestart{})
			require.Equal(t, messages.SuccessImage{Image: guest("hello").Image}, w.ask(":x", messages.UnikernelGet{Form: 3}))
		})
	}
}

// TestAnImageIsNoLargerThanTheMemoryOfItsUnikernel: whatever it is that is unpacked,
// no more than that is written to disk.
func TestAnImageIsNoLargerThanTheMemoryOfItsUnikernel(t *testing.T) {
	w := newWorld(t)
	image := append(guest("hello").Image, make([]byte, 64<<20)...)
	for title, config := range map[string]messages.Config{
		"as it is":   {Image: image},
		"compressed": {Image: deflated(t, image), Compressed: true},
	} {
		config.Arguments = guest("hello").Arguments
		w.fails("cannot use image: it is larger than the 16 MB of memory of its unikernel: give it more", ":x", create(config))
		entries, err := os.ReadDir(filepath.Join(w.dir, "images"))
		require.NoError(t, err)
		require.Empty(t, entries, title)
	}
}

// TestLargeAnswersReserveMemory before they are made, and streams before they begin. They
// are refused where there is none.
func TestLargeAnswersReserveMemory(t *testing.T) {
	w := newWorld(t, withBlocks)
	w.succeeds("created unikernel", ":x", create(guest("hello")))
	w.succeeds("added block device", ":disk", messages.BlockAdd{Size: 1})
	image := int64(len(guest("hello").Image))
	for title, tc := range map[string]struct {
		name    string
		command messages.Command
		takes   int64 // bytes, at least
		refused messages.Public
	}{
		"image":            {":x", messages.UnikernelGet{Form: 3}, image, "cannot read the image: none is left"},
		"compressed image": {":x", messages.UnikernelGet{Form: 3, Level: 9}, image, "cannot read the image: none is left"},
		"old image":        {":x", messages.UnikernelGet{Form: 1}, image, "cannot read the image: none is left"},
		"old dump": {
			":disk", messages.BlockOldDump{Level: 1}, 1 << 20,
			"cannot dump block device :disk: none is left; it can also be dumped as a stream",
		},
		"dump":   {":disk", messages.BlockDump{}, 2 * messages.StreamPart, "cannot dump block device :disk: none is left"},
		"upload": {":disk", messages.BlockSet{}, 2 * messages.StreamPart, "cannot set block device :disk: none is left"},
	} {
		t.Run(title, func(t *testing.T) {
			var reserved atomic.Int64
			asked := func(err error) *client {
				c := w.newClient()
				c.stream = strings.NewReader("contents")
				c.reserve = func(bytes int64) error { reserved.Add(bytes); return err }
				w.serve(messages.AtVMMD, c)
				c.send(tc.name, tc.command)
				return c
			}
			refused := asked(errors.New("none is left"))
			require.Equal(t, messages.Failure{Text: tc.refused}, refused.receive().Payload)
			require.InEpsilon(t, tc.takes, reserved.Swap(0), 0.01)
			refused.requireClosed()

			done := asked(nil)
			require.Implements(t, (*messages.Success)(nil), done.receive().Payload)
			require.InEpsilon(t, tc.takes, reserved.Load(), 0.01)
			_ = done.Close()
			w.until("the device is free", func() bool {
				_, free := w.ask(":disk", messages.BlockOldDump{Level: 9}).(messages.SuccessOldBlock)
				return free
			})
		})
	}
}

// TestImagesStayUntilAllIsKnown: the host fails shortly after a unikernel's actor, whose message about
// that reaches the next host before the record of what there is.
func TestImagesStayUntilAllIsKnown(t *testing.T) {
	faults := supervise.NewFaults(0, nil)
	w := newWorld(t, func(w *world) { w.faults = faults })
	w.succeeds("created unikernel", ":x", create(guest("hello", "--quiet")))
	w.succeeds("created unikernel", ":y", create(guest("chatty", "1")))
	faults.Set(
		supervise.Rule{Fault: supervise.CrashBefore, Kind: "unikernel", Type: "messages.UnikernelStop", Nth: 1},
		supervise.Rule{Fault: supervise.Reorder, Kind: "host", Type: "messages.UnikernelRestarted", Nth: 1, For: time.Hour},
		supervise.Rule{Fault: supervise.CrashBefore, Kind: "host", Type: "messages.Ask", Nth: 2},
	)
	restarting := w.connect(messages.AtVMMD)
	restarting.send(":x", messages.UnikernelRestart{Form: messages.RestartSame})
	w.until("the message about the failure is late", func() bool { return faults.Injected() == 2 })
	w.ask(":", messages.PolicyInfo{}) // at which the host fails
	restarting.receive()
	faults.Set()
	for _, name := range []string{":x", ":y"} {
		w.succeeds("created unikernel", name, messages.UnikernelRestart{Form: messages.RestartSame})
	}
}
