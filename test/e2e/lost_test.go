package e2e

import (
	"bytes"
	"fmt"
	"os"
	"regexp"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"albatross/messages"
	"albatross/runtime/store"
)

// refuses returns what a daemon prints that does not start.
func (h *host) refuses() string {
	h.t.Helper()
	c := h.command()
	var said bytes.Buffer
	c.Stderr = &said
	require.Error(h.t, c.Run())
	return said.String()
}

// TestALostDatabase: a daemon does not begin with an empty database beside unikernels that run. It
// prints what it has found, and the copy that it names brings all back.
func TestALostDatabase(t *testing.T) {
	h := newHost(t)
	h.create("x", guest("hello", "--quiet"))
	require.NoError(t, h.stop())
	h.start() // this keeps a copy
	pid := h.processes()["x"][0]
	h.kill()
	path := h.path("db", store.DBFile)
	for what, lose := range map[string]func() error{
		"gone":  func() error { return os.Remove(path) },
		"empty": func() error { return os.WriteFile(path, nil, 0o600) },
	} {
		require.NoError(t, lose(), what)
		said := h.refuses()
		for _, part := range []string{
			"the database " + path + " is empty or gone, but a former daemon has left 1 running unikernels (processes " + strconv.Itoa(pid) + ")",
			"1 images in " + h.path("db/images"),
			"1 console histories in " + h.path("db/console"),
			"(cp -a " + h.path("db", store.CopyFile) + " " + path + ")",
		} {
			require.Contains(t, said, part, what)
		}
	}
	data, err := os.ReadFile(h.path("db", store.CopyFile))
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(path, data[:8192], 0o600))
	require.Contains(t, h.refuses(), "the file is damaged (it has 8192 bytes of ")
	require.NoError(t, os.WriteFile(path, data, 0o600))
	h.start()
	require.Equal(t, []int{pid}, h.processes()["x"])
	require.Len(t, h.infos("x"), 1)
}

// TestANewDatabaseWithBlockDevices is made: an operator may have put them there.
func TestANewDatabaseWithBlockDevices(t *testing.T) {
	h := emptyHost(t)
	require.NoError(t, os.MkdirAll(h.path("db/block"), 0o700))
	require.NoError(t, os.WriteFile(h.path("db/block/:disk"), nil, 0o600))
	require.NoError(t, os.Truncate(h.path("db/block/:disk"), 1<<20))
	h.start()
	require.Contains(t, h.log(), "The database is new; block devices that are there are used")
}

// TestADatabaseThatGoesUnderTheDaemon: no command is answered as done that the next daemon would
// not know of, and the command in the refusal brings all back.
func TestADatabaseThatGoesUnderTheDaemon(t *testing.T) {
	h := newHost(t)
	h.create("x", guest("hello", "--quiet"))
	pid := h.pid("x")
	path := h.path("db", store.DBFile)
	require.NoError(t, os.Remove(path))
	away := regexp.MustCompile(`Nothing is stored: .*/proc/\d+/fd/\d+`)
	h.until("an idle daemon logs that", func() bool { return away.MatchString(h.log()) })
	policy := messages.PolicyAdd{Policy: messages.Policy{Unikernels: 2, CPUIDs: []int{0}, Memory: 64}}
	said := fmt.Sprint(h.ask("a:", policy))
	require.Contains(t, said, "somebody has removed or replaced the database under the daemon")
	require.NotContains(t, said, h.dir)
	open := regexp.MustCompile(`/proc/\d+/fd/\d+`).FindString(h.log())
	data, err := os.ReadFile(open)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(path, data, 0o600))
	require.Contains(t, fmt.Sprint(h.ask("a:", policy)), "removed or replaced", "it is another file, and there is nothing to be undone")
	h.kill()
	h.start()
	require.Equal(t, pid, h.pid("x"))
	h.requireText("added policy", "a:", policy)
}
