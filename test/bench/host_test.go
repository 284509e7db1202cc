package bench

import (
	"bytes"
	"context"
	"debug/elf"
	"encoding/binary"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"albatross/messages"
	"albatross/sockets/client"
	"albatross/test/guests"
	"albatross/test/programs"
)

// patience is for what must happen at all.
const patience = time.Minute

// A host is a daemon in a directory of its own. It has a keeper, unless its arguments say
// otherwise.
type host struct {
	b      *testing.B
	dir    string
	args   []string // more of them for the daemon
	daemon *exec.Cmd
}

func newHost(b *testing.B, args ...string) *host { return newHostWith(b, "", args...) }

// newHostWith is newHost with another program beside the daemon, unless it is empty.
func newHostWith(b *testing.B, program string, args ...string) *host {
	dir, err := os.MkdirTemp("", "bench") // a short name, for the sockets
	require.NoError(b, err)
	h := &host{b: b, dir: dir, args: args}
	list := []string{"albatrossd", "albatross-tender", "albatross-keeper"}
	if program != "" {
		list = append(list, program)
	}
	require.NoError(b, programs.Build(dir, list...))
	b.Cleanup(h.end)
	h.start()
	require.Equal(b, !slices.Contains(args, "--no-keeper"), len(programs.Keepers(h.path("db"))) == 1)
	return h
}

// start starts a daemon, and returns when it answers.
func (h *host) start() {
	args := append([]string{"--tmpdir", h.dir, "--dbdir", h.path("db"), "--tender", "builtin"}, h.args...)
	h.daemon = exec.Command(h.path("albatrossd"), args...)
	log, err := os.Create(h.path("log"))
	require.NoError(h.b, err)
	defer func() { _ = log.Close() }()
	h.daemon.Stderr = log
	require.NoError(h.b, h.daemon.Start())
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for !programs.Answers(ctx, h.dir) {
		require.NoError(h.b, ctx.Err(), "the daemon does not answer")
		time.Sleep(time.Millisecond) // otherwise asking would be most of the work
	}
}

// kill ends the daemon; its unikernels go on.
func (h *host) kill() {
	require.NoError(h.b, h.daemon.Process.Kill())
	_ = h.daemon.Wait() // it was killed
}

func (h *host) path(name string) string { return filepath.Join(h.dir, name) }

// end leaves nothing.
func (h *host) end() {
	h.destroyAll()
	require.NoError(h.b, h.daemon.Process.Signal(unix.SIGTERM))
	require.NoError(h.b, h.daemon.Wait())
	h.awaitKeeper()
	require.NoError(h.b, os.RemoveAll(h.dir))
}

// awaitKeeper returns when the keeper has ended, which keeps nothing any more.
func (h *host) awaitKeeper() {
	for end := time.Now().Add(patience); len(programs.Keepers(h.path("db"))) > 0; time.Sleep(time.Millisecond) {
		require.True(h.b, time.Now().Before(end), "the keeper does not end")
	}
}

func (h *host) destroyAll() {
	var destroying sync.WaitGroup
	limit := make(chan struct{}, 64)
	for _, i := range h.infos() {
		limit <- struct{}{}
		destroying.Go(func() {
			defer func() { <-limit }()
			h.ask(i.Name, messages.UnikernelDestroy{})
		})
	}
	destroying.Wait()
}

func (h *host) infos() []messages.NamedInfo {
	return h.ask(messages.Name{}, messages.UnikernelInfo{Form: 6}).(messages.SuccessInfos).List
}

func (h *host) dial(socket string) *client.Conn {
	c, err := client.Dial(context.Background(), h.path("util/"+socket+".sock"))
	require.NoError(h.b, err)
	return c
}

func (h *host) ask(name messages.Name, command messages.Command) messages.Success {
	c := h.dial("vmmd")
	defer c.Close()
	answer, err := c.Ask(context.Background(), name, command)
	require.NoError(h.b, err)
	return answer
}

// serve has clients served, each by a goroutine of its own, until the listener is closed.
func serve(l net.Listener, client func(net.Conn)) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer func() { _ = c.Close() }()
			client(c)
		}()
	}
}

func label(s string) messages.Name { return messages.Name{Label: messages.Label(s)} }

// config runs an image that prints one line and waits.
func config(image []byte) messages.Config {
	return messages.Config{Image: image, Arguments: messages.Arguments{
		Memory: 16, CPUIDs: []int{0}, CPUs: 1, Argv: messages.Some([]string{"--quiet"}),
	}}
}

const imageSize = 8 << 20

// largeImage is hello with so much data that it has imageSize bytes, other ones
// each time.
func largeImage(b *testing.B) []byte {
	image := guests.Image("hello", "spt")
	file, err := elf.NewFile(bytes.NewReader(image))
	require.NoError(b, err)
	const page = 4096
	image = append(image, make([]byte, -len(image)&(page-1))...)
	for i, p := range file.Progs {
		if p.Type == elf.PT_LOAD && p.Flags&elf.PF_W != 0 {
			size := uint64(imageSize - len(image))
			header := image[64+56*i:] // of this segment: see elf(5)
			binary.LittleEndian.PutUint64(header[8:], uint64(len(image)))
			binary.LittleEndian.PutUint64(header[32:], size)
			binary.LittleEndian.PutUint64(header[40:], size)
			data := make([]byte, size)
			source := rand.NewChaCha8([32]byte(binary.LittleEndian.AppendUint64(make([]byte, 24), rand.Uint64())))
			_, _ = source.Read(data[p.Memsz:]) // never fails; what was zero stays it
			return append(image, data...)
		}
	}
	require.FailNow(b, "no data segment")
	return nil
}

func median(list []time.Duration) time.Duration {
	return slices.Sorted(slices.Values(list))[len(list)/2]
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
