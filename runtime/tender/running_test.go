package tender

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"albatross/messages"
	"albatross/runtime/proc"
)

func TestLinesOfTenders(t *testing.T) {
	native := "solo5-hvt --mem=32 --net:service=vmmtap0 --net:management=vmmtap1 --net-mac:service=00:80:41:34:73:43 " +
		"--net-mac:management=00:80:41:e2:42:5b --block:storage=/db/block/:b --block-sector-size:storage=512 -- /tmp/:x.img --name=x -- --mem=1"
	both := Guest{
		Image: "/tmp/:x.img", Memory: 32, Argv: []string{"--name=x", "--", "--mem=1"},
		Networks: []Network{
			{Name: "service", Tap: "vmmtap0", MAC: messages.MAC{0, 0x80, 0x41, 0x34, 0x73, 0x43}},
			{Name: "management", Tap: "vmmtap1", MAC: messages.MAC{0, 0x80, 0x41, 0xe2, 0x42, 0x5b}},
		},
		Blocks: []Block{{"storage", "/db/block/:b", messages.Some(512)}},
	}
	small := Guest{Image: "i", Memory: 16, Argv: []string{}}
	for line, want := range map[string]Running{
		native: {Program: "solo5-hvt", Guest: both},
		"/opt/albatross-tender spt " + strings.Join(Args(both), " "): {Program: "/opt/albatross-tender", Guest: both},
		"/opt/albatross-tender hvt " + strings.Join(Args(both), " "): {Program: "/opt/albatross-tender", Guest: both},
		"/bin/sh /db/solo5-spt.2 --mem=16 -- i":                      {Program: "/db/solo5-spt.2", Guest: small},
		"albatross-tender spt --mem=16 --net:a=@5,@6 --net-mac:a=00:80:41:34:73:43 --net-mtu:a=9000 -- i": {
			Program: "albatross-tender",
			Guest: Guest{Image: "i", Memory: 16, Argv: []string{}, Networks: []Network{
				{Name: "a", MAC: messages.MAC{0, 0x80, 0x41, 0x34, 0x73, 0x43}, MTU: 9000},
			}},
		},
		"solo5-spt --mem=16 --dumpcore -- i":                   {Program: "solo5-spt", Guest: small, Odd: true},
		"solo5-spt --mem=x --net-mac:a=00:80:41:34:73:43 -- i": {Program: "solo5-spt", Guest: Guest{Image: "i", Argv: []string{}}, Odd: true},
	} {
		got, ok := parseLine(strings.Split(line, " "))
		require.True(t, ok, line)
		require.Equal(t, want, got, line)
	}
	for _, line := range []string{
		"", "sh", "solo5-spt", "solo5-spt --version", "solo5-spt --mem=16 --", "grep solo5 --mem=16 -- i",
		"/opt/albatross-tender launch --cpus=0",
		"/opt/albatross-tender launch --cpus=0 -- /opt/albatross-tender spt --mem=16 -- i", "/opt/albatross-tender", "cat a solo5-spt --mem=16 -- i",
	} {
		_, ok := parseLine(strings.Split(line, " "))
		require.False(t, ok, line)
	}
}

// TestFindRunning: a tender is found with all that it was told, as long as it runs.
func TestFindRunning(t *testing.T) {
	dir := t.TempDir()
	script, out := filepath.Join(dir, "solo5-spt"), filepath.Join(dir, "out")
	require.NoError(t, os.WriteFile(script, []byte("#!/bin/sh\nread line\n"), 0o700))
	output, err := os.Create(out)
	require.NoError(t, err)
	defer output.Close()
	cmd := exec.Command(script, "--mem=16", "--", filepath.Join(dir, "secret.img"), "password")
	cmd.Stdout = output
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	require.NoError(t, os.Remove(out))
	found := func() (r Running) {
		list, err := FindRunning(nil)
		require.NoError(t, err)
		i := slices.IndexFunc(list, func(r Running) bool { return r.Process.PID == cmd.Process.Pid })
		if i >= 0 {
			r = list[i]
		}
		return r
	}
	process, err := proc.Identify(cmd.Process.Pid)
	require.NoError(t, err)
	r := found()
	require.Equal(t, Running{
		Process: process, Program: script, Output: out,
		Guest: Guest{Image: filepath.Join(dir, "secret.img"), Memory: 16, Argv: []string{"password"}},
	}, r)
	require.NotContains(t, r.String(), "password")
	require.True(t, r.Runs())
	list, err := FindRunning([]messages.Process{process})
	require.NoError(t, err)
	require.NotContains(t, list, r, "it is known")
	another := process
	another.StartTime--
	list, err = FindRunning([]messages.Process{another})
	require.NoError(t, err)
	require.Contains(t, list, r, "the known one had the same pid")
	require.NoError(t, in.Close())
	_ = cmd.Wait()
	require.False(t, r.Runs())
	require.Equal(t, Running{}, found())
}

func TestSharedFiles(t *testing.T) {
	dir := t.TempDir()
	file, link := filepath.Join(dir, "file"), filepath.Join(dir, "link")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	require.NoError(t, os.Symlink(file, link))
	g := func(files ...string) (g Guest) {
		for _, f := range files {
			g.Blocks = append(g.Blocks, Block{File: f})
		}
		return g
	}
	shared, ok := g("/none", link).Shares(g("/other", file))
	require.True(t, ok)
	require.Equal(t, file, shared)
	_, ok = g("/none", "/a/../b").Shares(g("/b"))
	require.True(t, ok)
	_, ok = g(link).Shares(g("/other"))
	require.False(t, ok)
	_, ok = g().Shares(g(file))
	require.False(t, ok)
}
