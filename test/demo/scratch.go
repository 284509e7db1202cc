package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"albatross/test/guests"
	"albatross/test/programs"
)

const (
	// readyTimeout is how long a daemon may take until it answers, and until it has ended.
	readyTimeout = 10 * time.Second
	// readyPause is the time between two checks whether it answers.
	readyPause = 10 * time.Millisecond
)

// say prints what comes next.
func say(format string, args ...any) { fmt.Printf("\n# "+format+"\n", args...) }

// A scratch is the directory of the demo, with the processes that it has started.
type scratch struct {
	dir, bin string
	log      *os.File // the output of the daemons

	daemon *exec.Cmd
	ended  chan error // gets a value once the daemon has ended

	adopted sync.WaitGroup // goroutines that wait for processes whose daemon was killed
}

// newScratch makes the directory, and prepares to clean up.
func newScratch() (*scratch, error) {
	bin, err := builtPrograms()
	if err != nil {
		return nil, err
	}
	// Processes whose parent is gone become children of this one, and not of init. So none can get
	// lost, whatever goes wrong.
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return nil, fmt.Errorf("cannot become the parent of what the daemon starts: %w", err)
	}
	dir, err := shortDir()
	if err != nil {
		return nil, fmt.Errorf("cannot make a scratch directory: %w", err)
	}
	s := &scratch{dir: dir, bin: bin}
	s.log, err = os.Create(filepath.Join(dir, "albatrossd.log"))
	if err != nil {
		return nil, errors.Join(fmt.Errorf("cannot make a log: %w", err), os.RemoveAll(dir))
	}
	return s, nil
}

// shortDir makes a directory in which the path of a socket has at most 107 bytes, as it must. It is
// not in the directory of temporary files if the path of that is too long.
func shortDir() (string, error) {
	const longest = 107 - len("/albatross0123456789/run/util/console.sock")
	parent := os.TempDir()
	if len(parent) > longest {
		parent = "/tmp"
	}
	return os.MkdirTemp(parent, "albatross")
}

// builtPrograms returns the directory in which make has built the programs.
func builtPrograms() (string, error) {
	bin, err := filepath.Abs("bin")
	if err != nil {
		return "", fmt.Errorf("cannot find out where we are: %w", err)
	}
	for _, name := range []string{"albatrossd", "albatross-client", "albatross-tender", "albatross-network"} {
		if _, err := os.Stat(filepath.Join(bin, name)); err != nil {
			return "", fmt.Errorf("there is no bin/%s here: run 'make build' in the top directory first", name)
		}
	}
	return bin, nil
}

func (s *scratch) run() string { return filepath.Join(s.dir, "run") }
func (s *scratch) db() string  { return filepath.Join(s.dir, "db") }

// command prints a command as a user would type it, and prepares it.
func (s *scratch) command(ctx context.Context, suffix, name string, args ...string) *exec.Cmd {
	fmt.Printf("$ bin/%s %s%s\n", name, strings.Join(args, " "), suffix)
	return exec.CommandContext(ctx, filepath.Join(s.bin, name), args...)
}

// startDaemon starts a daemon, and waits until it answers at all its sockets.
func (s *scratch) startDaemon(ctx context.Context) error {
	// This program ends it in different ways, and not by the end of ctx.
	d := s.command(context.WithoutCancel(ctx), " &", "albatrossd", "--tmpdir", s.run(), "--dbdir", s.db())
	d.Stderr = s.log
	if err := d.Start(); err != nil {
		return fmt.Errorf("cannot start albatrossd: %w", err)
	}
	s.daemon, s.ended = d, make(chan error, 1)
	go func() { s.ended <- d.Wait() }()

	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	for !programs.Answers(ctx, s.run()) {
		select {
		case err := <-s.ended:
			s.daemon = nil
			return fmt.Errorf("albatrossd has ended instead of answering (%v)", err)
		case <-ctx.Done():
			return fmt.Errorf("albatrossd does not answer (%w)", ctx.Err())
		case <-time.After(readyPause):
		}
	}
	return nil
}

// client runs a command of the client, and prints and returns its output.
func (s *scratch) client(ctx context.Context, args ...string) (string, error) {
	c := s.command(ctx, "", "albatross-client", append(args, "--tmpdir", s.run())...)
	var output bytes.Buffer
	c.Stdout, c.Stderr = &output, &output
	err := c.Run()
	fmt.Print(output.String())
	if err != nil {
		return "", fmt.Errorf("cannot %s: %w", args[0], err)
	}
	return output.String(), nil
}

// writeImage writes the image of a small unikernel: hello prints that and counts seconds, and web
// serves HTTP. Their sources are in test/guests.
func (s *scratch) writeImage(name string) (string, error) {
	path := filepath.Join(s.dir, name+".spt")
	if err := os.WriteFile(path, guests.Image(name, "spt"), 0o644); err != nil {
		return "", fmt.Errorf("cannot write the image: %w", err)
	}
	return path, nil
}

// freePort returns a TCP port of loopback that nobody uses.
func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, fmt.Errorf("cannot find a free port: %w", err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}

// requireServed asks the unikernel at a port until it answers, which it does once it has its
// address, and prints the answer.
func (s *scratch) requireServed(ctx context.Context, port int) error {
	url := fmt.Sprintf("http://127.0.0.1:%d/", port)
	fmt.Printf("$ curl %s\n", url)
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	for {
		text, err := get(ctx, url)
		switch {
		case err == nil:
			fmt.Print(text)
			return nil
		case ctx.Err() != nil:
			return fmt.Errorf("the unikernel does not serve: %w", err)
		}
		time.Sleep(readyPause)
	}
}

func get(ctx context.Context, url string) (string, error) {
	ask, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	c := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	answer, err := c.Do(ask)
	if err != nil {
		return "", err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	return string(text), err
}

// started returns the time at which the unikernel was started, as the daemon has it.
func (s *scratch) started(ctx context.Context) (string, error) {
	info, err := s.client(ctx, "info", "-n", "hello")
	if err != nil {
		return "", err
	}
	for word := range strings.FieldsSeq(info) {
		if strings.HasPrefix(word, "20") {
			return word, nil
		}
	}
	return "", errors.New("the unikernel should run, but the daemon does not know when it was started")
}

// ticks hold what the unikernel has counted.
type ticks struct {
	numbers []int
	starts  int // how often it has printed hello
}

func (t *ticks) see(line string) {
	if strings.Contains(line, "hello from albatross") {
		t.starts++
	}
	if _, number, ok := strings.Cut(line, ": tick "); ok {
		if n, err := strconv.Atoi(number); err == nil {
			t.numbers = append(t.numbers, n)
		}
	}
}

func (t *ticks) last() int {
	if len(t.numbers) == 0 {
		return 0
	}
	return t.numbers[len(t.numbers)-1]
}

func (t *ticks) contiguous() bool {
	for i := 1; i < len(t.numbers); i++ {
		if t.numbers[i] != t.numbers[i-1]+1 {
			return false
		}
	}
	return true
}

// console shows the console of the unikernel until it has counted to a number, and then interrupts
// the client, as a user would.
func (s *scratch) console(ctx context.Context, until int) (t ticks, err error) {
	c := s.command(ctx, "", "albatross-client", "console", "hello", "--tmpdir", s.run())
	c.Stderr = os.Stderr
	out, err := c.StdoutPipe()
	if err != nil {
		return t, fmt.Errorf("cannot read the console: %w", err)
	}
	if err := c.Start(); err != nil {
		return t, fmt.Errorf("cannot start albatross-client: %w", err)
	}
	for lines := bufio.NewScanner(out); t.last() < until && lines.Scan(); {
		fmt.Println(lines.Text())
		t.see(lines.Text())
	}
	fmt.Println("^C")
	interrupted := c.Process.Signal(os.Interrupt)
	if err := c.Wait(); err != nil {
		return t, fmt.Errorf("cannot follow the console: %w", err)
	}
	if t.last() < until {
		return t, fmt.Errorf("the console should show tick %d, but it ended at %d (%v)", until, t.last(), interrupted)
	}
	return t, nil
}

// tender returns the process of the unikernel: a child of the daemon that has started it, or of
// this process after the end of that.
func (s *scratch) tender() (int, error) {
	daemon := s.daemon.Process.Pid
	processes := append(children(os.Getpid()), children(daemon)...)
	processes = slices.DeleteFunc(processes, func(pid int) bool { return pid == daemon })
	if len(processes) != 1 {
		return 0, fmt.Errorf("there should be one process of a unikernel, but there are %v", processes)
	}
	return processes[0], nil
}

// killDaemon ends the daemon as a crash does.
func (s *scratch) killDaemon() error {
	fmt.Printf("$ kill -9 %d\n", s.daemon.Process.Pid)
	if err := s.daemon.Process.Kill(); err != nil {
		return fmt.Errorf("cannot kill albatrossd: %w", err)
	}
	<-s.ended
	s.daemon = nil
	s.adopt()
	return nil
}

// adopt waits for the processes that have become our children. Otherwise they would stay as
// zombies, and the next daemon would not learn how they have ended.
func (s *scratch) adopt() {
	for _, pid := range children(os.Getpid()) {
		s.adopted.Go(func() { wait(pid) })
	}
}

// wait waits for a child that was not started by package exec.
func wait(pid int) {
	for {
		if _, err := unix.Wait4(pid, nil, 0, nil); err != unix.EINTR {
			return
		}
	}
}

// stopDaemon ends the daemon as a service manager does.
func (s *scratch) stopDaemon(ctx context.Context) error {
	fmt.Printf("$ kill %d\n", s.daemon.Process.Pid)
	if err := s.daemon.Process.Signal(unix.SIGTERM); err != nil {
		return fmt.Errorf("cannot stop albatrossd: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	select {
	case err := <-s.ended:
		s.daemon = nil
		if err != nil {
			return fmt.Errorf("albatrossd should end with exit code 0, but: %w", err)
		}
		return nil
	case <-ctx.Done():
		return fmt.Errorf("albatrossd does not end (%w)", ctx.Err())
	}
}

// nothingLeft fails if there are processes, sockets, pipes or images without use. What the daemon
// keeps for its next start does not count.
func (s *scratch) nothingLeft() error {
	s.adopted.Wait()
	if left := children(os.Getpid()); len(left) > 0 {
		return fmt.Errorf("processes are left: %v", left)
	}
	for _, dir := range []string{s.run(), filepath.Join(s.db(), "images")} {
		left, err := files(dir)
		if err != nil {
			return fmt.Errorf("cannot see what is left: %w", err)
		}
		if len(left) > 0 {
			return fmt.Errorf("files are left: %s", strings.Join(left, ", "))
		}
	}
	return nil
}

func files(dir string) (paths []string, err error) {
	err = filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() {
			paths = append(paths, path)
		}
		return err
	})
	return paths, err
}

// clean ends what still runs, and removes the directory. The daemon ends first, so that it starts
// nothing new.
func (s *scratch) clean() error {
	if s.daemon != nil {
		s.daemon.Process.Kill()
		<-s.ended
	}
	// The children of a process that is killed become ours only then.
	for left := children(os.Getpid()); len(left) > 0; left = children(os.Getpid()) {
		for _, pid := range left {
			unix.Kill(pid, unix.SIGKILL)
			wait(pid)
		}
	}
	s.adopted.Wait()
	programs.RemoveCgroups(s.db())
	if err := errors.Join(s.log.Close(), os.RemoveAll(s.dir)); err != nil {
		return fmt.Errorf("cannot remove the scratch directory: %w", err)
	}
	return nil
}

// daemonLog returns what the daemons have printed, to find out what is wrong.
func (s *scratch) daemonLog() string {
	log, err := os.ReadFile(s.log.Name())
	if err != nil || len(log) == 0 {
		return ""
	}
	return "\nalbatrossd has said:\n" + string(log)
}

// children returns the processes whose parent is pid.
func children(pid int) (pids []int) {
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, path := range stats {
		stat, err := os.ReadFile(path)
		if err != nil {
			continue // it has ended meanwhile
		}
		// The name of the program comes before, in parentheses, and may be any text.
		fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
		if len(fields) > 1 && fields[1] == strconv.Itoa(pid) {
			child, _ := strconv.Atoi(filepath.Base(filepath.Dir(path)))
			pids = append(pids, child)
		}
	}
	return pids
}
