package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"albatross/messages"
)

// TestLogOfChanges: the log shows who has changed what, and who was refused, but not the arguments
// of a unikernel.
func TestLogOfChanges(t *testing.T) {
	const secret = "s3cret"
	h := newHost(t)
	who := fmt.Sprintf(`uid=%d pid=%d`, os.Getuid(), os.Getpid())
	did := func(command, name, answer string) {
		t.Helper()
		h.requireLogged(`msg="A command was carried out" actor=\S+ command=` + command + ` name=` + name + ` ` + who + ` answer="` + answer + `"`)
	}
	refused := func(command, name string) {
		t.Helper()
		h.requireLogged(`msg="A command was refused" actor=\S+ command=` + command + ` name=` + name + ` ` + who + ` answer=".+"`)
	}
	policy := messages.PolicyAdd{Policy: messages.Policy{Unikernels: 2, CPUIDs: []int{0}, Memory: 64, Block: messages.Some(1)}}
	h.requireText("added policy", "web:", policy)
	did("add-policy", "web:", "added policy")
	h.requireText("no modification of policy", "web:", policy)
	h.create("web:site", guest("hello", "--token="+secret))
	did("create", "web:site", "created unikernel")
	h.requireText("added block device", "web:data", messages.BlockAdd{Size: 1})
	did("create-block", "web:data", "added block device")
	require.IsType(t, messages.SuccessText{}, h.ask("web:site", messages.UnikernelRestart{}))
	did("restart", "web:site", "created unikernel")
	for _, bad := range []func(*messages.Config){
		func(c *messages.Config) { c.Argv.Value[0] += "\x00" },
		func(c *messages.Config) { c.Argv.Value[0] += strings.Repeat("x", 1<<18) },
		func(c *messages.Config) { c.Image = []byte(secret) },
		func(c *messages.Config) { c.Memory = 1000 },
		func(c *messages.Config) { c.CPUIDs = nil },
	} {
		config := guest("hello", "--token="+secret)
		bad(&config)
		require.IsType(t, messages.Failure{}, h.ask("web:bad", create(config)))
	}
	refused("create", "web:bad")
	h.requireText("destroyed unikernel", "web:site", messages.UnikernelDestroy{})
	did("destroy", "web:site", "destroyed unikernel")
	require.IsType(t, messages.Failure{}, h.ask("web:none", messages.UnikernelDestroy{}))
	refused("destroy", "web:none")
	h.requireText("removed policy", "web:", messages.PolicyRemove{})
	did("remove-policy", "web:", "removed policy")
	h.infos(":")
	require.NotContains(t, h.log(), secret)
	require.NotContains(t, h.log(), "no modification", "the endpoint says each policy before each command")
}

// requireLogged waits for a line, which may come after the answer that it is about.
func (h *host) requireLogged(pattern string) {
	h.t.Helper()
	line := regexp.MustCompile(`(?m)` + pattern + `$`)
	h.until("the log has "+pattern, func() bool { return line.MatchString(h.log()) })
}

// TestLogOfTheStart: a daemon logs its version, its directories, the tenders that it can run images
// with, and what it has found.
func TestLogOfTheStart(t *testing.T) {
	h := emptyHost(t)
	h.start()
	tender := regexp.QuoteMeta(filepath.Join(bin, "albatross-tender"))
	dir := regexp.QuoteMeta(h.dir)
	h.requireLogged(`msg="albatrossd starts" version=devel protocol=\d+ pid=\d+ tmpdir="` + dir + `" dbdir="` + dir + `/db" tenders=\[` + tender + `\] keeper=[1-9]\d*`)
	h.requireLogged(`msg=Listening( group=\d+)? sockets="\[` + dir + `/util/console.sock ` + dir + `/util/control.sock ` + dir + `/util/stat.sock ` + dir + `/util/vmmd.sock\]"`)
	h.requireLogged(`msg="Commands are carried out from now on" actor=host\S* running=0 to_start=0`)
	h.create("one", guest("hello", "--quiet"))
	h.create("two", guest("hello", "--quiet"))
	h.untilStored()
	h.kill()
	require.Len(t, h.processes(), 2)
	h.start()
	h.requireLogged(`msg="Commands are carried out from now on" actor=host\S* running=2 to_start=0`)
}

// TestLogOfEnds: the end of a unikernel is a warning if no command has asked for it.
func TestLogOfEnds(t *testing.T) {
	h := newHost(t)
	h.create("stopped", guest("hello", "--quiet"))
	h.requireText("destroyed unikernel", "stopped", messages.UnikernelDestroy{})
	h.requireLogged(`level=INFO msg="Unikernel exited" actor=\S+:stopped#\d+ exit="signal 15" used="user [0-9.]+ s system [0-9.]+ s( memory [0-9.]+ MB)?"`)
	h.create("killed", guest("hello", "--quiet"))
	require.NoError(t, unix.Kill(h.pid("killed"), unix.SIGKILL))
	h.requireLogged(`level=WARN msg="Unikernel exited" actor=\S+:killed#\d+ exit="signal 9" used="user [0-9.]+ s system [0-9.]+ s( memory [0-9.]+ MB)?"`)
}
