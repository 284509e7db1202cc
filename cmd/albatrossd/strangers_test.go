package main

import (
	"crypto/sha256"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"albatross/messages"
	"albatross/runtime/block"
	"albatross/runtime/proc"
	"albatross/runtime/tender"
)

// TestTakingOver: a unikernel of native albatross that still runs is put on record if everything
// about it is as the state says. Otherwise the log says why not.
func TestTakingOver(t *testing.T) {
	dir := t.TempDir()
	file := func(path ...string) string { return filepath.Join(append([]string{dir}, path...)...) }
	for _, d := range []string{"fifo", "block"} {
		require.NoError(t, os.Mkdir(file(d), 0o700))
	}
	image := file("a:x.img")
	require.NoError(t, os.WriteFile(image, []byte("image"), 0o600))
	require.NoError(t, os.WriteFile(file("other"), []byte("other"), 0o600))
	require.NoError(t, os.WriteFile(file("block", "a:Data"), make([]byte, 1<<20), 0o600))
	blocks, err := block.Open(file("block"))
	require.NoError(t, err)
	_, _, err = blocks.Scan()
	require.NoError(t, err)
	process, err := proc.Identify(os.Getpid())
	require.NoError(t, err)

	name := messages.Name{Path: "a", Label: "x"}
	spec := messages.Spec{Digest: sha256.Sum256([]byte("image")), Arguments: messages.Arguments{
		Memory: 32, AddName: true, Argv: messages.Some([]string{"one", "--two"}),
		Blocks: []messages.BlockDevice{{Name: "storage", Device: messages.Some("data")}},
	}}
	running := func() tender.Running {
		return tender.Running{Process: process, Program: "solo5-spt", Output: file("fifo", "a:x"), Guest: tender.Guest{
			Image: image, Memory: 32, Argv: []string{"--name=x", "one", "--two"},
			Blocks: []tender.Block{{Name: "storage", File: file("block", "a:Data"), SectorSize: messages.Some(512)}},
		}}
	}
	for title, tc := range map[string]struct {
		change  func(*tender.Running)
		more    int // how many more such processes there are
		refused bool
		why     string // empty: it is taken over
	}{
		"as it is":           {},
		"without its name":   {change: func(r *tender.Running) { r.Guest.Argv = r.Guest.Argv[1:] }, refused: true},
		"twice":              {more: 1, why: "there are several"},
		"odd":                {change: func(r *tender.Running) { r.Odd = true }, why: "options that are not known"},
		"other output":       {change: func(r *tender.Running) { r.Output = "/dev/null" }, why: "its output is not the console"},
		"other memory":       {change: func(r *tender.Running) { r.Guest.Memory = 33 }, why: "it has 33 MB of memory, and not 32"},
		"other arguments":    {change: func(r *tender.Running) { r.Guest.Argv = []string{"--name=x"} }, why: "its arguments are other ones"},
		"other name":         {change: func(r *tender.Running) { r.Guest.Argv[0] = "--name=y" }, why: "its arguments are other ones"},
		"no block device":    {change: func(r *tender.Running) { r.Guest.Blocks = nil }, why: "it has 0 block devices, and not 1"},
		"other device":       {change: func(r *tender.Running) { r.Guest.Blocks[0].File = "/dev/null" }, why: "its block device storage is /dev/null, and should be storage, which is " + file("block", "a:Data")},
		"other sectors":      {change: func(r *tender.Running) { r.Guest.Blocks[0].SectorSize = messages.Some(4096) }, why: "its block device storage"},
		"a network":          {change: func(r *tender.Running) { r.Guest.Networks = make([]tender.Network, 1) }, why: "it has 1 networks, and not 0"},
		"other image":        {change: func(r *tender.Running) { r.Guest.Image = file("other") }, why: "it runs another image"},
		"image that is gone": {change: func(r *tender.Running) { r.Guest.Image = file("none") }, why: "what it runs is not known"},
	} {
		t.Run(title, func(t *testing.T) {
			r := running()
			if tc.change != nil {
				tc.change(&r)
			}
			s := strangers{tmpdir: dir, fifos: file("fifo"), blocks: blocks}
			for range tc.more + 1 {
				s.running = append(s.running, r)
			}
			var log strings.Builder
			changes, taken := s.takeOver(name, spec, theImport, slog.New(slog.NewTextHandler(&log, nil)))
			if tc.why != "" {
				require.Empty(t, changes)
				require.Contains(t, log.String(), tc.why)
				require.Contains(t, log.String(), r.String())
				return
			}
			require.Empty(t, log.String())
			require.Equal(t, r.Guest.Image, taken)
			wanted := spec
			wanted.NameRefused = tc.refused
			require.Equal(t, messages.PutSpec{Name: name, Spec: wanted}, changes[0])
			runtime := changes[1].(messages.PutRuntime).Runtime
			require.Equal(t, process, runtime.Process)
			require.True(t, runtime.Released)
			require.WithinDuration(t, time.Now(), runtime.Started(), 10*time.Minute)
			require.Empty(t, s.without([]messages.Record{{Name: name, Runtime: messages.Some(runtime)}}))
			require.Len(t, s.without(nil), 1)
		})
	}
	changes, _ := strangers{running: []tender.Running{running()}, tmpdir: dir, fifos: file("fifo"), blocks: blocks}.
		takeOver(messages.Name{Path: "a", Label: "y"}, spec, theImport, slog.New(slog.DiscardHandler))
	require.Empty(t, changes, "that is another one")
}
