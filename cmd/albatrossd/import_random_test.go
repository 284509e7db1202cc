package main

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"albatross/messages"
	"albatross/runtime/store"
	"albatross/sockets/wire"
)

// TestMain: the test binary runs itself again as a daemon that is killed while it
// imports.
func TestMain(m *testing.M) {
	if len(os.Args) > 2 && os.Args[1] == "import" {
		os.Exit(importAlone(os.Args[2]))
	}
	os.Exit(m.Run())
}

// TestWhatIsImportedIsWhatWasThere: everything in a state file is stored.
func TestWhatIsImportedIsWhatWasThere(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		dir, err := os.MkdirTemp(t.TempDir(), "")
		require.NoError(r, err)
		native := states().Draw(r, "state")
		file := encode(r, native)
		writeFile(r, statePath(dir), file)
		s := begin(t, dir)
		defer s.stop(t)
		require.NoError(r, s.imports())
		s.requireHas(r, file)
	})
}

// requireHas checks that all of a state file is stored, and nothing else.
func (s *start) requireHas(t require.TestingT, file []byte) {
	native, err := wire.DecodeState(file)
	require.NoError(t, err)
	want := messages.State{Imported: true}
	for _, u := range native.Unikernels {
		want.Unikernels = append(want.Unikernels, messages.Record{Name: u.Name, Spec: messages.Spec{
			Digest: sha256.Sum256(plainImage(u.Name)), Arguments: u.Config.Arguments,
		}})
	}
	for _, p := range native.Policies {
		if p.Name.Path != messages.Root {
			want.Policies = append(want.Policies, p)
		}
	}
	slices.SortFunc(want.Unikernels, func(a, b messages.Record) int { return strings.Compare(a.Name.String(), b.Name.String()) })
	slices.SortFunc(want.Policies, func(a, b messages.NamedPolicy) int { return strings.Compare(a.Name.String(), b.Name.String()) })

	stored, err := s.db.Load()
	require.NoError(t, err)
	require.Equal(t, want, stored)
	for _, u := range stored.Unikernels {
		image, err := os.ReadFile(s.images.Path(u.Spec.Digest))
		require.NoError(t, err)
		require.True(t, bytes.Equal(plainImage(u.Name), image))
	}
}

// plainImage returns the image of a unikernel in these tests: it follows from its name, in lower
// case.
func plainImage(n messages.Name) []byte {
	return bytes.Repeat([]byte(strings.ToLower(n.String())), 1000)
}

// states draws states that native could have written. Lists that are sets have at most one element,
// so that they need no order.
func states() *rapid.Generator[wire.State] {
	return rapid.Custom(func(t *rapid.T) wire.State {
		s := wire.State{Choice: rapid.SampledFrom([]int{wire.StateUntil25, wire.StateSince27}).Draw(t, "choice")}
		fold := func(n messages.Name) string { return strings.ToLower(n.String()) }
		for _, n := range rapid.SliceOfNDistinct(names(), 0, 4, fold).Draw(t, "unikernels") {
			s.Unikernels = append(s.Unikernels, configOf(t, n, s.Choice))
		}
		for _, n := range rapid.SliceOfNDistinct(names(), 0, 4, fold).Draw(t, "policies") {
			at := messages.Name{Path: n.Path.Append(n.Label)}
			s.Policies = append(s.Policies, messages.NamedPolicy{Name: at, Policy: policies().Draw(t, "policy")})
		}
		if rapid.Bool().Draw(t, "root") {
			s.Policies = append(s.Policies, messages.NamedPolicy{Policy: policies().Draw(t, "policy")})
		}
		return s
	})
}

func names() *rapid.Generator[messages.Name] {
	label := rapid.StringMatching(`[a-cA-C0.][a-cA-C-]{0,2}`)
	return rapid.Custom(func(t *rapid.T) (n messages.Name) {
		n.Label = messages.Label(label.Draw(t, "label"))
		for _, l := range rapid.SliceOfN(label, 0, 2).Draw(t, "path") {
			n.Path = n.Path.Append(messages.Label(l))
		}
		return n
	})
}

func configOf(t *rapid.T, name messages.Name, choice int) messages.NamedConfig {
	u := messages.NamedConfig{Name: name, Config: messages.Config{Image: plainImage(name), Arguments: arguments(choice).Draw(t, "arguments")}}
	if rapid.Bool().Draw(t, "compressed") {
		u = compressed(t, u)
	}
	return u
}

func arguments(choice int) *rapid.Generator[messages.Arguments] {
	number := rapid.IntRange(messages.MinInt, messages.MaxInt)
	text := rapid.Map(rapid.SliceOfN(rapid.Byte(), 0, 5), func(b []byte) string { return string(b) })
	return rapid.Custom(func(t *rapid.T) messages.Arguments {
		a := messages.Arguments{AddName: true, CPUIDs: []int{number.Draw(t, "cpu")}, CPUs: 1, Memory: number.Draw(t, "memory")}
		if rapid.Bool().Draw(t, "restarts") {
			a.Fail = messages.FailBehaviour{Restart: true, Codes: []int{number.Draw(t, "code")}}
		}
		if rapid.Bool().Draw(t, "devices") {
			a.Blocks = []messages.BlockDevice{{Name: text.Draw(t, "block"), Device: maybe(t, text), SectorSize: maybe(t, number)}}
			a.Networks = []messages.Network{{Name: text.Draw(t, "network"), Bridge: maybe(t, text), MAC: maybe(t, rapid.Make[messages.MAC]())}}
		}
		a.Argv = maybe(t, rapid.SliceOfN(text, 1, 3))
		if choice == wire.StateSince27 {
			a.Startup, a.AddName = maybe(t, number), rapid.Bool().Draw(t, "add name")
			a.CPUs, a.LinuxBoot = number.Draw(t, "cpus"), maybe(t, text)
		}
		return a
	})
}

func maybe[T any](t *rapid.T, value *rapid.Generator[T]) (o messages.Option[T]) {
	if rapid.Bool().Draw(t, "there") {
		o = messages.Some(value.Draw(t, "value"))
	}
	return o
}

func policies() *rapid.Generator[messages.Policy] {
	number := rapid.IntRange(messages.MinInt, messages.MaxInt)
	return rapid.Custom(func(t *rapid.T) messages.Policy {
		return messages.Policy{
			Unikernels: number.Draw(t, "unikernels"), CPUIDs: []int{number.Draw(t, "cpu")},
			Memory: number.Draw(t, "memory"), Block: maybe(t, number), Bridges: []string{"br0"},
		}
	})
}

// The parameters of TestAnImportThatIsKilled.
const (
	importKills = 15
	importSize  = 8 // unikernels
)

// TestAnImportThatIsKilled: whenever the daemon dies, the next one finds all of the state, or must
// import it.
func TestAnImportThatIsKilled(t *testing.T) {
	var native wire.State
	for i := range importSize {
		u := unikernel("", messages.Label(fmt.Sprintf("u%d", i)))
		u.Config.Image = plainImage(u.Name)
		native.Unikernels = append(native.Unikernels, compressed(t, u))
	}
	file := encode(t, native)
	took := killImport(t, file, time.Minute)
	require.NotZero(t, took)
	killed := 0
	for range importKills {
		after := time.Duration(rand.Int64N(int64(took)))
		if killImport(t, file, after) == 0 {
			killed++
		}
	}
	t.Logf("%d of %d imports of %v were cut off", killed, importKills, took)
}

// killImport makes another process import a state, and kills it after some time. It returns how
// long the import took, or 0 if it did not come to its end.
func killImport(t *testing.T, file []byte, after time.Duration) time.Duration {
	dir := t.TempDir()
	writeFile(t, statePath(dir), file)
	c := exec.Command(os.Args[0], "import", dir)
	out, err := c.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, c.Start())
	_, err = io.ReadFull(out, make([]byte, len(ready)))
	require.NoError(t, err)
	began := time.Now()
	timer := time.AfterFunc(after, func() { _ = c.Process.Kill() })
	err = c.Wait()
	took := time.Since(began)
	timer.Stop()

	s := begin(t, dir)
	defer s.stop(t)
	if stored := s.stored(t); stored.Imported {
		s.requireHas(t, file)
	} else {
		require.Equal(t, messages.State{}, stored)
		require.Error(t, err, "an import that came to its end")
	}
	require.NoError(t, s.imports())
	s.requireHas(t, file)
	if err != nil {
		return 0
	}
	return took
}

// ready is printed when an import begins.
const ready = "ready\n"

// importAlone runs as the process that is killed.
func importAlone(dir string) int {
	db, err := store.Open(dir)
	if err != nil {
		return 1
	}
	images, err := store.OpenImages(dir)
	if err != nil {
		return 1
	}
	fmt.Print(ready)
	s := &start{dir: dir, db: db, images: images}
	if err := s.imports(); err != nil {
		return 1
	}
	return 0
}
