package history

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"albatross/messages"
)

// TestNothingMakesADifference does anything to a log, and compares it with a copy in memory: every
// line is there once, with its time.
func TestNothingMakesADifference(t *testing.T) {
	full := smallDisk(t, "4m")
	rapid.Check(t, func(r *rapid.T) {
		w := newWorldIn(t, full)
		defer os.RemoveAll(w.path)
		defer func() { w.log.Close() }()
		m := &machine{world: w, r: r, mount: full}
		r.Repeat(map[string]func(*rapid.T){
			"":         m.compare,
			"print":    m.print,
			"flood":    m.flood,
			"finish":   m.finish,
			"restart":  m.restart,
			"follow":   m.follow,
			"unfollow": m.unfollow,
			"sync":     m.sync,
			"fill":     m.fill,
			"empty":    m.empty,
		})
		m.empty(r)
	})
}

// A machine is a log, and what it should remember.
type machine struct {
	world *world
	r     *rapid.T
	mount string

	model    tail
	filled   bool
	follower uint64
	heard    []messages.ConsoleLine // the lines that the follower has got
}

func (m *machine) print(r *rapid.T) { m.take(output().Draw(r, "text")) }

// flood prints much: a file is replaced after a few of these.
func (m *machine) flood(r *rapid.T) {
	line := strings.Repeat("f", 200) + output().Draw(r, "line")
	m.take(strings.Repeat(line, 1+rapid.IntRange(0, 700_000).Draw(r, "size")/len(line)))
}

func (m *machine) take(text string) {
	m.world.clock.Add(int64(rapid.IntRange(0, 2).Draw(m.r, "nanoseconds")))
	m.hear(m.world.print(text))
	m.model.feed([]byte(text), m.world.dir.time())
}

// hear adds lines to those of the follower, if there is one.
func (m *machine) hear(lines []messages.ConsoleLine) {
	if m.follower == 0 {
		require.Empty(m.r, lines)
		return
	}
	m.heard = append(m.heard, lines...)
	m.heard = m.heard[max(0, len(m.heard)-Lines):]
}

func (m *machine) finish(r *rapid.T) {
	text := rapid.SampledFrom([]string{"", "a", "\n", "last words"}).Draw(r, "text")
	_, err := m.world.writer.WriteString(text)
	require.NoError(m.r, err)
	m.model.feed([]byte(text+"\n"), m.world.dir.time())
	taken, err := m.world.log.Finish(m.world.pipe)
	require.NoError(m.r, err)
	m.hear(taken.Lines)
}

func (m *machine) restart(r *rapid.T) {
	if m.filled && !m.world.log.Sync() {
		r.Skip("what is in memory would be lost")
	}
	m.world.restart()
	m.follower, m.heard = 0, nil
}

func (m *machine) follow(*rapid.T) {
	m.follower++
	m.heard, _ = m.world.log.Follow(m.follower)
}

func (m *machine) unfollow(*rapid.T) {
	m.world.log.Unfollow()
	m.follower = 0
}

func (m *machine) sync(*rapid.T) {
	synced := m.world.log.Sync()
	require.True(m.r, synced || m.filled)
}

// fill leaves at most some room on the disk.
func (m *machine) fill(r *rapid.T) {
	if !m.filled {
		fill(m.world.t, m.mount, rapid.SampledFrom([]int{0, 4096, 100 << 10}).Draw(r, "room"))
	}
	m.filled = true
}

func (m *machine) empty(*rapid.T) {
	if m.filled {
		require.NoError(m.r, os.Remove(m.mount+"/filler"))
	}
	m.filled = false
}

// compare reads what is remembered without following it.
func (m *machine) compare(*rapid.T) {
	l := m.world.log
	require.NoError(m.r, l.lock())
	defer l.mu.Unlock()
	want := m.model.consoleLines()
	m.requireEqual(want, l.remembered().consoleLines())
	if m.follower != 0 {
		m.requireEqual(want, m.heard)
	}
}

// requireEqual is require.Equal, but fast if there is no difference.
func (m *machine) requireEqual(want, got []messages.ConsoleLine) {
	if !slices.Equal(want, got) {
		require.Equal(m.r, want, got)
	}
}
