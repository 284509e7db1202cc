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
// line is there once, with its time. A reader gets each line, or learns how many it has missed.
func TestNothingMakesADifference(t *testing.T) {
	full := smallDisk(t, "16m")
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
			"read":     m.read,
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

	all      []messages.ConsoleLine // lines ever printed
	before   int                    // how many of them by former daemons
	splitter splitter
	filled   bool
	troubled bool // the disk has been full since the reader has come
	unread   int  // bytes printed since the reader has read
}

func (m *machine) print(r *rapid.T) { m.take(output().Draw(r, "text")) }

// flood prints much: a file is replaced after a few of these.
func (m *machine) flood(r *rapid.T) {
	line := strings.Repeat("f", 200) + output().Draw(r, "line")
	m.take(strings.Repeat(line, 1+rapid.IntRange(0, 700_000).Draw(r, "size")/len(line)))
}

func (m *machine) take(text string) {
	m.world.clock.Add(int64(rapid.IntRange(0, 2).Draw(m.r, "nanoseconds")))
	m.world.print(text)
	m.printed(text)
}

func (m *machine) printed(text string) {
	at := m.world.dir.time()
	m.splitter.feed([]byte(text), func(kept []byte) {
		m.all = append(m.all, messages.ConsoleLine{Time: at, Text: string(appendText(nil, kept))})
	})
	m.unread += len(text)
	m.troubled = m.troubled || m.filled
}

func (m *machine) finish(r *rapid.T) {
	text := rapid.SampledFrom([]string{"", "a", "\n", "last words"}).Draw(r, "text")
	_, err := m.world.writer.WriteString(text)
	require.NoError(m.r, err)
	require.NoError(m.r, m.world.log.Finish(m.world.pipe))
	m.printed(text + "\n")
}

func (m *machine) restart(r *rapid.T) {
	if m.filled && !m.world.log.Sync() {
		r.Skip("what is in memory would be lost")
	}
	m.world.restart()
	m.before = len(m.all)
}

func (m *machine) follow(*rapid.T) {
	m.unfollow(m.r)
	m.world.reader = m.world.log.FollowLast(-1)
	m.troubled, m.unread = m.filled || m.world.log.memory != nil, 0
}

func (m *machine) unfollow(*rapid.T) {
	if m.world.reader != nil {
		m.world.reader.Close()
	}
	m.world.reader = nil
}

// read reads what the reader has not read yet.
func (m *machine) read(*rapid.T) {
	if m.world.reader == nil {
		return
	}
	for next := m.world.reader.Next() - Lines + m.before; next < len(m.all); {
		lines, missed := m.world.reader.Read(m.world.log.Next())
		require.NotZero(m.r, missed+len(lines))
		if !m.troubled && m.unread < maxSize {
			require.Zero(m.r, missed)
		}
		next += missed
		m.requireEqual(m.all[next:next+len(lines)], lines)
		next += len(lines)
	}
	m.unread = 0
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
	m.filled, m.troubled = true, true
}

func (m *machine) empty(*rapid.T) {
	if m.filled {
		require.NoError(m.r, os.Remove(m.mount+"/filler"))
	}
	m.filled = false
}

// compare reads what is remembered.
func (m *machine) compare(*rapid.T) {
	m.requireEqual(m.all[max(0, len(m.all)-Lines):], m.world.remembered())
}

// requireEqual is require.Equal, but fast if there is no difference.
func (m *machine) requireEqual(want, got []messages.ConsoleLine) {
	if !slices.Equal(want, got) {
		require.Equal(m.r, want, got)
	}
}
