package tender

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"albatross/runtime/trust"
)

const (
	// versionTimeout bounds how long a program may run for --version.
	versionTimeout = 5 * time.Second
	// versionGrace is how long its descendants may keep its output open after it was
	// killed.
	versionGrace = time.Second
	// versionMax bounds what is kept of its output.
	versionMax = 64 << 10
)

// A verdict is what a program has reported about itself.
type verdict struct {
	file    fileID
	version uint32
	err     error // why it is no tender; version is meaningless then
}

// A fileID changes when a file is replaced or written.
type fileID struct {
	device, inode uint64
	size, changed int64
}

// check returns why a candidate cannot be used; os.ErrNotExist if it does not exist. One in
// our directory is not executed if others can write it; whoever sets a PATH answers for that.
func (f *Finder) check(ctx context.Context, c candidate, version uint32) error {
	file, err := identify(c.Program)
	if err == nil && filepath.Dir(c.Program) == filepath.Clean(f.Dir) {
		err = trust.File(c.Program)
	}
	if err != nil {
		return err
	}
	v, err := f.verdict(ctx, c, file)
	if err != nil {
		return err
	}
	if v.err == nil && v.version != version {
		return fmt.Errorf("is for ABI version %d", v.version)
	}
	return v.err
}

func identify(path string) (fileID, error) {
	info, err := os.Stat(path)
	if errors.Is(err, syscall.ENOTDIR) {
		return fileID{}, os.ErrNotExist
	}
	if err != nil {
		return fileID{}, err
	}
	if !info.Mode().IsRegular() || info.Mode()&0o111 == 0 {
		return fileID{}, os.ErrNotExist // as for a shell
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return fileID{}, fmt.Errorf("internal error: no stat of %s", path)
	}
	return fileID{stat.Dev, stat.Ino, stat.Size, info.ModTime().UnixNano()}, nil
}

// A question is one run of a program for its version, shared by all who wait for it.
type question struct {
	answered chan struct{} // closed at the end; the rest does not change afterwards
	verdict  verdict
	cut      bool // the asker gave up
}

// verdict returns what is known of a program, or what it reports now.
func (f *Finder) verdict(ctx context.Context, c candidate, file fileID) (verdict, error) {
	for {
		v, q, mine := f.remembered(c.command(), file)
		switch {
		case q == nil:
			return v, nil
		case mine:
			f.put(ctx, q, c)
			return q.verdict, nil
		}
		select {
		case <-q.answered:
		case <-ctx.Done():
			return verdict{}, ctx.Err()
		}
		if !q.cut && q.verdict.file == file {
			return q.verdict, nil
		}
	}
}

// remembered returns the known verdict of a program, or else the question under way; mine
// says that the caller must run it.
func (f *Finder) remembered(command string, file fileID) (v verdict, q *question, mine bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if v, known := f.known[command]; known && v.file == file {
		return v, nil, false
	}
	if q := f.asking[command]; q != nil {
		return verdict{}, q, false
	}
	if f.asking == nil {
		f.asking, f.known = map[string]*question{}, map[string]verdict{}
	}
	q = &question{answered: make(chan struct{}), verdict: verdict{file: file}}
	f.asking[command] = q
	return verdict{}, q, true
}

// put asks a program. It remembers only what the program itself has said: that it did not answer in
// time, could not be executed or was killed may be a matter of the moment.
func (f *Finder) put(ctx context.Context, q *question, c candidate) {
	q.verdict.version, q.verdict.err = ask(ctx, c)
	q.cut = ctx.Err() != nil
	f.mu.Lock()
	defer f.mu.Unlock()
	if !q.cut && !errors.Is(q.verdict.err, errNotRun) {
		f.known[c.command()] = q.verdict
	}
	delete(f.asking, c.command())
	close(q.answered)
}

// errNotRun is about a program that has not run to its end.
var errNotRun = errors.New("does not tell its version")

// ask runs a program for its version.
func ask(ctx context.Context, c candidate) (version uint32, err error) {
	ctx, cancel := context.WithTimeout(ctx, versionTimeout)
	defer cancel()
	var output bounded
	cmd := exec.CommandContext(ctx, c.Program, append(append([]string{}, c.Prefix...), "--version")...)
	cmd.Dir, cmd.Env, cmd.WaitDelay = "/", []string{}, versionGrace
	cmd.Stdout, cmd.Stderr = &output, &output // Solo5's tenders print to the latter
	err = cmd.Run()
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return 0, fmt.Errorf("%w: %w", errNotRun, ctx.Err())
	case errors.As(err, &exit) && exit.Exited():
		return 0, fmt.Errorf("does not tell its version: %v", err)
	case err != nil: // not wrapped: what is missing may be the interpreter of a script
		return 0, fmt.Errorf("%w: %v", errNotRun, err)
	}
	return findVersion(output.kept)
}

// findVersion finds a line "ABI version N".
func findVersion(output []byte) (uint32, error) {
	for line := range bytes.Lines(output) {
		text, ok := strings.CutPrefix(strings.TrimSpace(string(line)), "ABI version ")
		if !ok {
			continue
		}
		if n, err := strconv.ParseUint(text, 10, 32); err == nil {
			return uint32(n), nil
		}
	}
	return 0, errors.New("does not tell its ABI version")
}

// bounded keeps the first versionMax bytes written to it. (It does not embed a
// bytes.Buffer, whose ReadFrom is unbounded.)
type bounded struct{ kept []byte }

func (b *bounded) Write(p []byte) (int, error) {
	b.kept = append(b.kept, p[:min(len(p), versionMax-len(b.kept))]...)
	return len(p), nil
}
