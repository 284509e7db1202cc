package main

import (
	"crypto/sha256"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"albatross/messages"
	"albatross/sockets/control"
	"albatross/sockets/wire"
)

// A fakeDaemon answers as its fields say.
type fakeDaemon struct {
	policies messages.Payload
	infos    messages.Payload
	images   map[string]messages.Payload // by the text of the name
	settings messages.Payload            // the answer on the control socket

	restarts chan messages.UnikernelRestart // those that were asked for
}

// serve answers at a socket, and at the control socket beside it, until the test ends.
func (d *fakeDaemon) serve(t *testing.T) (socket string) {
	dir, err := os.MkdirTemp("", "export") // a short path, as sockets need it
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(dir)) })
	socket = filepath.Join(dir, "socket")
	listen(t, socket, d.talk)
	listen(t, filepath.Join(dir, "control.sock"), d.answerSettings)
	return socket
}

// listen serves each connection to a socket until the test ends.
func listen(t *testing.T, socket string, serve func(net.Conn)) {
	l, err := net.Listen("unix", socket)
	require.NoError(t, err)
	var running sync.WaitGroup
	running.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			serve(conn)
		}
	})
	t.Cleanup(func() {
		require.NoError(t, l.Close())
		running.Wait()
	})
}

// answerSettings answers one request for settings.
func (d *fakeDaemon) answerSettings(conn net.Conn) {
	defer conn.Close()
	asked, err := control.Read(conn, control.MaxItem)
	if err != nil || asked.Payload != (messages.SettingList{}) {
		return
	}
	if answer, err := control.Append(nil, messages.Wire{Payload: d.settings}); err == nil {
		_, _ = conn.Write(answer) // the client may have left
	}
}

// talk answers one command, as daemons do.
func (d *fakeDaemon) talk(conn net.Conn) {
	defer conn.Close()
	frame, err := wire.ReadFrame(conn, wire.MaxCommand)
	if err != nil {
		return
	}
	m, err := wire.Decode(frame)
	if err != nil {
		return
	}
	switch command := m.Payload.(type) {
	case messages.PolicyInfo:
		m.Payload = d.policies
	case messages.UnikernelInfo:
		m.Payload = d.infos
	case messages.UnikernelRestart:
		d.restarts <- command
		m.Payload = messages.SuccessText{Text: "created unikernel"}
	case messages.UnikernelGet:
		m.Payload = messages.Failure{Text: "compressed image wanted"}
		if command.Level == 0 {
			m.Payload = d.images[m.Header.Name.String()]
		}
	}
	if m.Payload != nil {
		_ = wire.WriteFrame(conn, m) // the client may have left
	}
}

// add makes a unikernel run with an image of its name. It lists the unikernel as a daemon does:
// with all devices.
func (d *fakeDaemon) add(t *testing.T, name string, args messages.Arguments, blocks []messages.BlockInfo, networks []messages.NetworkInfo) {
	n, err := messages.ParseName(name)
	require.NoError(t, err)
	digest := sha256.Sum256([]byte(name))
	infos := d.infos.(messages.SuccessInfos)
	infos.List = append(infos.List, messages.NamedInfo{Name: n, Info: messages.Info{
		Digest: digest[:], Started: time.Unix(1, 0), Blocks: blocks, Networks: networks,
		Startup: args.Startup, Fail: args.Fail, CPUIDs: args.CPUIDs, Memory: args.Memory, Argv: args.Argv, CPUs: args.CPUs,
	}})
	d.infos = infos
	d.images[n.String()] = messages.SuccessImage{Image: []byte(name)}
}

func quietDaemon() *fakeDaemon {
	return &fakeDaemon{
		policies: messages.SuccessPolicies{},
		infos:    messages.SuccessInfos{Form: 6},
		images:   map[string]messages.Payload{},
		settings: messages.SuccessSettings{},
		restarts: make(chan messages.UnikernelRestart, 1),
	}
}

// emptyState returns the state of a native daemon that runs nothing.
func emptyState(t *testing.T) []byte {
	data, err := wire.AppendState(nil, wire.OldestState(nil, nil))
	require.NoError(t, err)
	return data
}

// exportTo runs the command, and returns what it prints.
func (d *fakeDaemon) exportTo(t *testing.T, path string) (code exitCode, stdout, stderr string) {
	var out, errs strings.Builder
	p := nativeProgram(&out, &errs)
	dbdir := t.TempDir()
	require.NoError(t, os.Mkdir(filepath.Join(dbdir, "block"), 0o700))
	code = p.run(t.Context(), []string{"export-state", path, "--socket", d.serve(t), "--dbdir", dbdir})
	return code, out.String(), errs.String()
}

func readNative(t *testing.T, path string) wire.State {
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	s, err := wire.DecodeState(data)
	require.NoError(t, err)
	return s
}

var plain = messages.Arguments{AddName: true, CPUIDs: []int{1}, CPUs: 1, Memory: 32}

// TestExport: what the daemon has chosen is left to the next daemon again.
func TestExport(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "state")
	require.NoError(t, os.WriteFile(path, emptyState(t), 0o644))
	d := quietDaemon()
	policies := []messages.NamedPolicy{
		{Policy: messages.Policy{Unikernels: messages.MaxInt, CPUIDs: []int{0, 1}, Memory: 4096, Block: messages.Some(100)}},
		{Name: messages.Name{Path: "a"}, Policy: messages.Policy{Unikernels: 2, CPUIDs: []int{1}, Memory: 64, Bridges: []string{"br0"}}},
	}
	d.policies = messages.SuccessPolicies{List: policies}
	web := plain
	web.Fail = messages.FailBehaviour{Restart: true, Codes: []int{2}}
	web.Argv = messages.Some([]string{"--hello", "\xff"})
	name := messages.Name{Path: "a", Label: "web"}
	given := messages.Some(messages.MAC{2, 0, 0, 0, 0, 1})
	derived := func(device string) messages.Option[messages.MAC] {
		return messages.Some(messages.Network{Name: device}.Address(name))
	}
	d.add(t, "a:web", web, []messages.BlockInfo{
		{Name: "s", Device: messages.Some("s"), SectorSize: messages.Some(512), Size: 7},
		{Name: "t", Device: messages.Some("data"), SectorSize: messages.Some(4096), Size: 7},
	}, []messages.NetworkInfo{
		{Name: "net", Bridge: messages.Some("net"), MAC: derived("net")},
		{Name: "own", Bridge: messages.Some("br0"), MAC: given},
		{Name: "swap", Bridge: messages.Some("br0"), MAC: derived("net")},
	})
	d.add(t, ":plain", plain, nil, nil)

	code, stdout, stderr := d.exportTo(t, path)
	require.Equal(t, exitSuccess, code, stderr)
	require.Equal(t, "exported 2 unikernels and 2 policies to "+path+"\n", stdout)
	require.Empty(t, stderr)
	web.Blocks = []messages.BlockDevice{{Name: "s"}, {Name: "t", Device: messages.Some("data"), SectorSize: messages.Some(4096)}}
	web.Networks = []messages.Network{{Name: "net"}, {Name: "own", Bridge: messages.Some("br0"), MAC: given}, {Name: "swap", Bridge: messages.Some("br0"), MAC: derived("net")}}
	require.Equal(t, wire.State{
		Choice: wire.StateUntil25,
		Unikernels: []messages.NamedConfig{
			{Name: name, Config: messages.Config{Image: []byte("a:web"), Arguments: web}},
			{Name: messages.Name{Label: "plain"}, Config: messages.Config{Image: []byte(":plain"), Arguments: plain}},
		},
		Policies: policies,
	}, readNative(t, path))
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode(), "images may hold secrets")
	requireFiles(t, dir, "state")
}

// TestExportOfWhat25CannotRead prints that.
func TestExportOfWhat25CannotRead(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state")
	d := quietDaemon()
	early, wide := plain, plain
	early.Startup = messages.Some(7)
	wide.CPUIDs, wide.CPUs = []int{0, 3}, 2
	d.add(t, ":early", early, nil, nil)
	d.add(t, ":wide", wide, nil, nil)
	code, stdout, stderr := d.exportTo(t, path)
	require.Equal(t, exitSuccess, code, stderr)
	require.Contains(t, stdout, "exported 2 unikernels")
	require.Contains(t, stderr, "[WARNING] albatross 2.5 and before cannot read this file")
	s := readNative(t, path)
	require.Equal(t, wire.StateSince27, s.Choice)
	require.Equal(t, early, s.Unikernels[0].Config.Arguments)
	require.Equal(t, wide, s.Unikernels[1].Config.Arguments)
}

// TestExportKeepsWhoWantsNoName: a unikernel that was created with --no-add-name, or has refused
// its name, keeps that. If the daemon does not send it, the client warns.
func TestExportKeepsWhoWantsNoName(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state")
	d := quietDaemon()
	d.settings = messages.SuccessSettings{List: []messages.NamedSettings{
		{Name: messages.Name{Label: "a"}, AddName: true},
		{Name: messages.Name{Label: "b"}},
		{Name: messages.Name{Label: "c"}, AddName: true, NameRefused: true},
	}}
	for _, n := range []string{":a", ":b", ":c"} {
		d.add(t, n, plain, nil, nil)
	}
	named := func() (list []bool) {
		for _, u := range readNative(t, path).Unikernels {
			list = append(list, u.Config.AddName)
		}
		return list
	}
	code, _, stderr := d.exportTo(t, path)
	require.Equal(t, exitSuccess, code, stderr)
	require.NotContains(t, stderr, "--no-add-name: none")
	require.Equal(t, []bool{true, false, false}, named())

	d.settings = messages.Failure{Text: "nothing known here is called \"settings\""}
	code, _, stderr = d.exportTo(t, path)
	require.Equal(t, exitSuccess, code, stderr)
	require.Contains(t, stderr, "[WARNING] the daemon does not tell which unikernels were created with --no-add-name")
	require.Equal(t, []bool{true, true, true}, named())
}

// TestExportWhileSomethingHappens: a unikernel that has ended is left out. Anything that is not
// certain is not written.
func TestExportWhileSomethingHappens(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*fakeDaemon)
		code   exitCode
		want   string
	}{
		"ended": {func(d *fakeDaemon) {
			d.images[":b"] = messages.Failure{Text: "get: no unikernel found"}
		}, exitSuccess, "[unikernel: :b] has ended meanwhile, and is left out"},
		"replaced": {func(d *fakeDaemon) {
			d.images[":b"] = messages.SuccessImage{Image: []byte("other")}
		}, exitInternal, "cannot export [unikernel: :b]: it has been replaced meanwhile, try again"},
		"unreadable": {func(d *fakeDaemon) {
			d.images[":b"] = messages.Failure{Text: "cannot read image: input/output error"}
		}, exitRefused, "host [unikernel: :b]: command failed cannot read image"},
		"closed":       {func(d *fakeDaemon) { delete(d.images, ":b") }, exitCommunication, "closed without an answer"},
		"odd image":    {func(d *fakeDaemon) { d.images[":b"] = messages.SuccessEmpty{} }, exitCommunication, "of a kind that was not asked for"},
		"odd infos":    {func(d *fakeDaemon) { d.infos = messages.SuccessEmpty{} }, exitCommunication, "of a kind that was not asked for"},
		"odd policies": {func(d *fakeDaemon) { d.policies = messages.SuccessEmpty{} }, exitCommunication, "of a kind that was not asked for"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, "state")
			require.NoError(t, os.WriteFile(path, emptyState(t), 0o600))
			d := quietDaemon()
			for _, n := range []string{":a", ":b", ":c"} {
				d.add(t, n, plain, nil, nil)
			}
			c.change(d)
			code, stdout, stderr := d.exportTo(t, path)
			require.Equal(t, c.code, code, stderr)
			require.Contains(t, stderr, c.want)
			requireFiles(t, dir, "state")
			if code == exitSuccess {
				require.Contains(t, stdout, "exported 2 unikernels and 0 policies")
				require.Len(t, readNative(t, path).Unikernels, 2)
				return
			}
			require.Empty(t, stdout)
			data, err := os.ReadFile(path)
			require.NoError(t, err)
			require.Equal(t, emptyState(t), data)
		})
	}
}

// TestExportReplacesFilesOnly: a pipe, or the target of a link, is not replaced. The test uses no
// device, since a fault would replace that.
func TestExportReplacesFilesOnly(t *testing.T) {
	dir := t.TempDir()
	in := func(name string) string { return filepath.Join(dir, name) }
	require.NoError(t, os.WriteFile(in("file"), []byte("old"), 0o600))
	require.NoError(t, os.Symlink(in("file"), in("link")))
	require.NoError(t, unix.Mkfifo(in("pipe"), 0o600))
	require.NoError(t, os.Mkdir(in("dir"), 0o700))
	for path, want := range map[string]string{
		in("link"):       "FILE argument: '" + in("link") + "' is there, and is no regular file",
		in("pipe"):       "is no regular file",
		in("dir"):        "is no regular file",
		in("file"):       "file is there, and is no state of native albatross: give another name",
		in("none/state"): "FILE argument: no '" + in("none") + "' file or directory",
		in("file/state"): "not a directory",
	} {
		code, _, stderr := quietDaemon().exportTo(t, path)
		require.Equal(t, exitUsage, code, stderr)
		require.Contains(t, stderr, want)
	}
	data, err := os.ReadFile(in("file"))
	require.NoError(t, err)
	require.Equal(t, "old", string(data))
}
