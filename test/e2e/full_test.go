package e2e

import (
	"io"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"albatross/messages"
	"albatross/test/netns"
)

// onSmallDisk returns a host whose database directory is a file system of 8 MB, and functions that
// fill it up, and free that room again.
func onSmallDisk(t *testing.T) (h *host, fill, free func()) {
	netns.Need(t) // a test network also is a namespace of mounts
	disk := t.TempDir()
	require.NoError(t, unix.Mount("tmpfs", disk, "tmpfs", 0, "size=8m,mode=0700"))
	t.Cleanup(func() { require.NoError(t, unix.Unmount(disk, unix.MNT_DETACH)) })
	h = emptyHost(t)
	require.NoError(t, os.Symlink(disk, h.path("db")))
	filler := filepath.Join(disk, "filler")
	fill = func() {
		f, err := os.OpenFile(filler, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
		require.NoError(t, err)
		_, err = io.Copy(f, endless{})
		require.ErrorIs(t, err, unix.ENOSPC)
		require.NoError(t, f.Close())
	}
	return h, fill, func() { require.NoError(t, os.Remove(filler)) }
}

type endless struct{}

func (endless) Read(b []byte) (int, error) { return len(b), nil }

// TestFullDisk: on a full disk unikernels end, restart and are destroyed, all
// answers are true, the next daemon takes over what runs, and the log stays short.
func TestFullDisk(t *testing.T) {
	h, fill, free := onSmallDisk(t)
	h.args = []string{"--metrics", "0"}
	h.start()
	restarting := guest("exit", "3")
	restarting.Arguments.Fail = messages.FailBehaviour{Restart: true}
	for _, name := range []string{"killed", "destroyed", "stays"} {
		h.create(name, guest("hello", "--quiet"))
	}
	h.create("prints", guest("chatty", "1000000000"))
	h.create("restarts", restarting)
	fill()

	require.NoError(t, unix.Kill(h.processes()["killed"][0], unix.SIGKILL))
	h.until("its end is known", func() bool { return len(h.infos("killed")) == 0 })
	_, there := h.scrape().value("albatross_unikernel_running", "name=:killed")
	require.False(t, there)
	require.Equal(t, messages.SuccessText{Text: "destroyed unikernel"}, h.ask("destroyed", messages.UnikernelDestroy{}))
	refused := h.ask("new", create(guest("badcall"))).(messages.Failure).Text
	require.Contains(t, refused, "no space left on device")

	restarts := func() float64 {
		n, _ := h.scrape().value("albatross_unikernel_restarts_total", "name=:restarts")
		return n
	}
	before := restarts()
	h.until("it is restarted", func() bool { return restarts() > before+1 })
	h.kill()
	h.start()
	h.until("the next daemon runs all", func() bool {
		return maps.Equal(h.listed(), map[string]bool{"stays": true, "prints": true, "restarts": true})
	})
	require.Equal(t, messages.SuccessText{Text: "destroyed unikernel"}, h.ask("prints", messages.UnikernelDestroy{}))
	require.Less(t, strings.Count(h.log(), "no space left"), 20, h.log())

	free()
	h.create("new", guest("hello", "--quiet"))
	h.ask("restarts", messages.UnikernelDestroy{})
}
