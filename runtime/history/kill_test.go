package history

import (
	"bufio"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"albatross/runtime/fifo"
)

const (
	kills        = 40
	killedWithin = 20 * time.Millisecond
)

// daemon reads a console until it is killed, with and without a follower.
func daemon(dir string) {
	pipe, err := OpenPipe(filepath.Join(dir, ":hello"))
	must(err)
	d, err := Open(filepath.Join(dir, "console"), time.Now)
	must(err)
	log := d.Log(hello, func(err error) { must(err) })
	var reader *Reader
	if os.Getpid()%2 == 0 {
		reader = log.FollowLast(-1)
	}
	go func() {
		for {
			if !log.Sync() {
				must(fmt.Errorf("cannot sync"))
			}
		}
	}()
	fmt.Println("ready")
	for {
		_, err := log.Take(pipe)
		must(err)
		if reader != nil {
			readAll(reader)
		}
	}
}

func must(err error) {
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}

// TestKill kills the reader of a console at random moments, while a unikernel prints numbered lines
// as fast as it can. The next reader finds what was taken, and in the pipe what follows it: no line
// is missing, and none is there twice.
func TestKill(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	dir := t.TempDir()
	path := filepath.Join(dir, ":hello")
	require.NoError(t, fifo.Create(path))
	writer, err := os.OpenFile(path, os.O_RDWR|unix.O_NONBLOCK, 0)
	require.NoError(t, err)
	written := make(chan struct{})
	go func() { defer close(written); number(writer) }()
	defer func() { require.NoError(t, writer.Close()); <-written }()

	last, replaced := 0, 0
	for range kills {
		kill(t, dir, time.Duration(random.Int64N(int64(killedWithin))))
		replaced += temporaries(t, dir)
		last = requireEveryLine(t, dir, last)
	}
	t.Logf("%d lines, %d kills while a file was being replaced", last, replaced)
}

// number writes lines until the pipe has no reader. Their lengths differ, so that they are cut at
// any byte.
func number(writer *os.File) {
	for n := 1; ; n++ {
		line := fmt.Sprintf("line %d %s\n", n, strings.Repeat("x", n%97))
		if _, err := writer.WriteString(line); err != nil {
			return
		}
	}
}

// kill runs a daemon for some time.
func kill(t *testing.T, dir string, after time.Duration) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "daemon", dir)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	said := bufio.NewReader(out)
	line, err := said.ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "ready\n", line)
	<-time.After(after)
	require.NoError(t, cmd.Process.Kill())
	more, _ := said.ReadString('\n')
	require.Empty(t, more)
	require.EqualError(t, cmd.Wait(), "signal: killed")
}

// temporaries counts the files that a kill has left behind.
func temporaries(t *testing.T, dir string) int {
	found, err := filepath.Glob(filepath.Join(dir, "console", temporaryPrefix+"*"))
	require.NoError(t, err)
	return len(found)
}

// requireEveryLine checks the lines that are remembered and those that come next, and returns the
// number of the last one.
func requireEveryLine(t *testing.T, dir string, before int) int {
	t.Helper()
	pipe, err := OpenPipe(filepath.Join(dir, ":hello"))
	require.NoError(t, err)
	defer pipe.Close()
	d, err := Open(filepath.Join(dir, "console"), time.Now)
	require.NoError(t, err)
	log := d.Log(hello, func(err error) { t.Error(err) })
	defer log.Close()
	r := log.FollowLast(-1)
	lines, missed := readAll(r)
	require.Zero(t, missed)
	remembered := len(lines)
	takeALine(t, log, pipe)
	more, missed := readAll(r)
	require.Zero(t, missed)
	all := texts(append(lines, more...))
	first := numberOf(t, all[0])
	for i, l := range all {
		n := first + i
		require.Equal(t, fmt.Sprintf("line %d %s", n, strings.Repeat("x", n%97)), l)
	}
	require.True(t, first == 1 || remembered == Lines)
	last := first + len(all) - 1
	require.Greater(t, last, before)
	return last
}

// takeALine takes output until a line is complete. Output before that is part of a line.
func takeALine(t *testing.T, log *Log, pipe *Pipe) {
	t.Helper()
	for before := log.Next(); log.Next() == before; {
		_, err := log.Take(pipe)
		require.NoError(t, err)
	}
}

func numberOf(t *testing.T, line string) int {
	t.Helper()
	n, err := strconv.Atoi(strings.Fields(line)[1])
	require.NoError(t, err)
	return n
}
