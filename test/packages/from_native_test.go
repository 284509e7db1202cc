package packages

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"albatross/messages"
	"albatross/sockets/wire"
	"albatross/test/readme"
)

// TestFromNative follows docs/from-native.md with the state of a native albatross, there and back.
func TestFromNative(t *testing.T) {
	page, err := os.ReadFile("../../docs/from-native.md")
	require.NoError(t, err)
	there, back, found := strings.Cut(string(page), "## And back")
	require.True(t, found)

	r := newRoot(t)
	r.installNative()
	r.copyFile(r.path(r.packageFile(newer, "*.deb")), "/root/albatross-go_"+newer+"_amd64.deb")
	r.copyFile(r.path("/tmp/albatross_2.7.2_amd64.deb"), "/root/albatross_2.7.2_amd64.deb")
	left := nativeState(t)
	r.write("/var/lib/albatross/state", string(left), 0o600)
	stored := strings.Repeat("what it has stored\n", 1<<20)[:1<<20]
	r.write("/var/lib/albatross/block/:data", stored, 0o600)
	device := r.inodeOf("/var/lib/albatross/block/:data")

	o := &operator{root: r}
	o.follow(there)
	require.Contains(t, o.printed, "the state of native albatross is imported at the first start")
	require.Equal(t, string(left), r.read("/var/lib/albatross/state"), "it stays as it was")
	r.until("all unikernels run", func() bool { return len(r.processes("/usr/bin/albatross-tender")) == 2 })
	info := r.do("albatross-client", "info")
	require.Contains(t, info, "web:hello")
	require.Contains(t, info, "other")
	require.Contains(t, r.do("albatross-client", "policy", "-p", "web"), "64")
	require.Contains(t, r.do("albatross-client", "block"), "data")
	require.True(t, os.SameFile(device, r.inodeOf("/var/lib/albatross/block/:data")), "it stays where it is")

	r.write("/run/albatross/util/native", "", 0o600) // as of a daemon that runs when this one is purged
	o.follow(back)
	require.FileExists(t, r.path("/run/albatross/util/native"), "what is native's stays")
	require.NoFileExists(t, r.path("/etc/albatross/albatrossd.toml"))
	require.Empty(t, r.processes("/usr/bin/albatross-tender"), "all have stopped")
	require.NoFileExists(t, r.path("/usr/bin/albatrossd"))
	require.Equal(t, "native\n", r.do("albatross-client"))
	before, err := wire.DecodeState(left)
	require.NoError(t, err)
	after, err := wire.DecodeState([]byte(r.read("/var/lib/albatross/state")))
	require.NoError(t, err)
	require.Equal(t, contents(before), contents(after))
	require.True(t, stored == r.read("/var/lib/albatross/block/:data"))
}

// nativeState returns a state file of native albatross with two unikernels, and a policy.
func nativeState(t *testing.T) []byte {
	image, err := os.ReadFile("../guests/bin/hello.spt")
	require.NoError(t, err)
	config := func(memory int) messages.Config {
		return messages.Config{Type: messages.Solo5, Image: image, Arguments: messages.Arguments{
			Memory: memory, CPUs: 1, CPUIDs: []int{0}, AddName: true, Argv: messages.Some([]string{"world"}),
		}}
	}
	web := messages.Policy{Unikernels: 2, CPUIDs: []int{0}, Memory: 64}
	state, err := wire.AppendState(nil, wire.State{
		Choice: wire.StateUntil25,
		Unikernels: []messages.NamedConfig{
			{Name: nameOf(t, "other"), Config: config(16)},
			{Name: nameOf(t, "web:hello"), Config: config(32)},
		},
		Policies: []messages.NamedPolicy{{Name: nameOf(t, "web:"), Policy: web}},
	})
	require.NoError(t, err)
	return state
}

func nameOf(t *testing.T, text string) messages.Name {
	name, err := messages.ParseName(text)
	require.NoError(t, err)
	return name
}

// contents returns what a state contains, however it is written. The policy of the root is what the
// machine has.
func contents(s wire.State) wire.State {
	s.Choice = 0
	s.Policies = slices.DeleteFunc(s.Policies, func(p messages.NamedPolicy) bool { return p.Name.Path == messages.Root })
	return s
}

// unitsOf returns what names the units of both: ours are files, and their texts name native's.
func unitsOf(t *testing.T) string {
	list, err := filepath.Glob("../../packaging/systemd/*")
	require.NoError(t, err)
	text := strings.Join(list, "\n")
	for _, path := range list {
		unit, err := os.ReadFile(path)
		require.NoError(t, err)
		text += string(unit)
	}
	return text
}

// inodeOf identifies a file, so that a copy is another one.
func (r *root) inodeOf(inside string) os.FileInfo {
	r.t.Helper()
	info, err := os.Stat(r.path(inside))
	require.NoError(r.t, err)
	return info
}

// An operator types the commands of a page, in /root. There is no systemd, so that the operator runs
// the daemon.
type operator struct {
	*root
	daemon  *daemon
	printed string
}

func (o *operator) follow(page string) {
	o.t.Helper()
	commands := readme.Commands(page)
	require.NotEmpty(o.t, commands)
	for _, command := range commands {
		o.t.Log(command)
		o.obey(command)
	}
}

func (o *operator) obey(command string) {
	o.t.Helper()
	switch {
	case command == "systemctl enable --now albatrossd.service":
		o.daemon = o.start()
	case command == "systemctl restart albatrossd.service":
		o.daemon.stop(o.t)
		o.daemon = o.start()
	case command == "systemctl stop albatrossd-vmmd.socket":
		o.daemon.stop(o.t)
	case strings.HasPrefix(command, "systemctl stop"), strings.HasPrefix(command, "systemctl start"): // nothing runs
		for _, unit := range strings.Fields(command)[2:] {
			require.Contains(o.t, unitsOf(o.t), unit, "it is a unit")
		}
	default:
		command = strings.NewReplacer("apt install", "apt-get install -y", "apt purge", "apt-get purge -y").Replace(command) // it asks nobody
		o.printed += o.do("sh", "-c", "cd /root && "+command)
	}
}
