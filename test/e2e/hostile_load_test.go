package e2e

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"albatross/messages"
	"albatross/sockets/client"
	"albatross/test/hostile"
	"albatross/test/programs"
)

const (
	// crowd is the number of clients of a load.
	crowd = 20
	// loadMemory is how much memory a load may cost. The race detector keeps several bytes for each
	// one.
	loadMemory = 512 << 20
	// loadRest is how much more memory than before may be in use after the load.
	loadRest = 8 << 20
	// loadFiles is how many descriptors of the processes of the canaries the daemon keeps at most
	// after the first statistics.
	loadFiles = 16
	// loadGoroutines is how many more goroutines than before may be under way: how many there are
	// before differs by some between two runs. A leak would be one for each of hundreds of commands.
	loadGoroutines = 8
)

// TestHostileLoad: many clients change everything for a while. Whatever is acknowledged is true,
// also for the next daemon. No client sees what belongs to another. In the end the daemon, which
// has the race detector, holds no more than before.
func TestHostileLoad(t *testing.T) {
	h := emptyHost(t)
	h.bin = t.TempDir()
	race, err := programs.BuildAlike(h.bin, "albatrossd", "albatross-tender")
	require.NoError(t, err)
	t.Logf("with the race detector: %t", race)
	h.args = []string{"--metrics", "0"}
	h.start()

	all := newCrowd(h)
	duration := hostile.Choose(2*time.Second, 3*time.Minute)
	h.besieged(loadMemory, func() {
		all.each((*member).visitAll) // records that are kept of every name for ever exist from now on
		before := h.mostHeld()
		end := time.Now().Add(duration)
		all.each(func(m *member) { m.workUntil(end) })
		all.each((*member).clear)
		h.untilHeld(before)
	})
	all.each(func(m *member) { m.workUntil(time.Now()) })
	h.kill()
	h.start()
	all.each((*member).check)
	all.each((*member).clear)

	require.Greater(t, all.acknowledged(), 4*loadGoroutines, "enough to see a leak")
	hostile.Figure(t, fmt.Sprintf("changes acknowledged to %d clients in %v", crowd, duration), all.acknowledged())
}

// held is how much the daemon has of what can leak.
type held struct{ memory, descriptors, goroutines float64 }

func (h *host) held() held {
	h.t.Helper()
	h.collectGarbage()
	s := h.scrape()
	return held{s.must(h.t, "go_memstats_heap_alloc_bytes"), s.must(h.t, "process_open_fds"), s.must(h.t, "go_goroutines")}
}

// mostHeld returns the most of several looks: what is under way, and what garbage there is, differs
// from one to the next.
func (h *host) mostHeld() (most held) {
	for range 5 {
		now := h.held()
		most.memory = max(most.memory, now.memory)
		most.descriptors = max(most.descriptors, now.descriptors)
		most.goroutines = max(most.goroutines, now.goroutines)
	}
	return most
}

// collectGarbage makes the daemon collect its garbage, as it does when a client with a large
// command has gone.
func (h *host) collectGarbage() {
	h.t.Helper()
	const large = 5 << 20
	c, err := net.Dial("unix", h.socket("vmmd"))
	require.NoError(h.t, err)
	defer c.Close()
	_, err = c.Write(append(binary.BigEndian.AppendUint32(nil, large), make([]byte, large)...))
	require.NoError(h.t, err)
	_, _ = io.Copy(io.Discard, c) // until the daemon has closed the connection
}

// untilHeld waits until the daemon holds as much as it did.
func (h *host) untilHeld(before held) {
	h.t.Helper()
	var now held
	defer func() { h.t.Logf("held before: %+v, and since: %+v", before, now) }()
	h.until("the daemon holds what it held", func() bool {
		now = h.held()
		return now.memory <= before.memory+loadRest && now.descriptors <= before.descriptors+loadFiles && now.goroutines <= before.goroutines+loadGoroutines
	})
}

// members are all clients of a load.
type members []*member

// A member is a client that remembers what it has, as the daemon has acknowledged it.
type member struct {
	h      *host
	id     int
	random *rand.Rand
	made   int // number of tokens

	unikernels   map[string]string // their tokens by their labels
	disk         string            // the token in it; empty if there is none
	policy       int               // how many unikernels it allows; 0 if there is none
	acknowledged int
	failed       bool
}

func newCrowd(h *host) (all members) {
	for id := range crowd {
		all = append(all, &member{h: h, id: id, random: rand.New(rand.NewPCG(rand.Uint64(), 0)), unikernels: map[string]string{}})
	}
	return all
}

// each calls do for all members at the same time.
func (all members) each(do func(*member)) {
	var working sync.WaitGroup
	for _, m := range all {
		working.Go(func() { do(m) })
	}
	working.Wait()
	if all[0].h.t.Failed() {
		all[0].h.t.FailNow()
	}
}

func (all members) acknowledged() (n int) {
	for _, m := range all {
		n += m.acknowledged
	}
	return n
}

var memberLabels = []string{"one", "two"}

// path returns the path of all that a member has.
func (m *member) path() string { return fmt.Sprintf("member%d:", m.id) }

// mark returns a text that is in every token of a member, and in none of another.
func (m *member) mark() string { return fmt.Sprintf("token%d-", m.id) }

func (m *member) token() string {
	m.made++
	return fmt.Sprintf("%s%d", m.mark(), m.made)
}

// complain fails the test, and ends the work of a member.
func (m *member) complain(format string, args ...any) {
	m.failed = true
	m.h.t.Errorf(m.path()+" "+format, args...)
}

// change gives a command that must succeed, and reports whether it has.
func (m *member) change(name string, command messages.Command) bool {
	if m.failed {
		return false
	}
	answer, err := m.h.tryAsk(name, command)
	if _, ok := answer.(messages.SuccessText); !ok || err != nil {
		m.complain("%T of %s: %v %v", command, name, answer, err)
		return false
	}
	m.acknowledged++
	return true
}

// visitAll uses all names of a member, and leaves nothing.
func (m *member) visitAll() {
	m.toggleDisk()
	m.togglePolicy()
	for _, label := range memberLabels {
		m.create(label)
		m.restart(label)
		m.readConsole(label)
	}
	m.check()
	m.clear()
}

// workUntil does random work until some time, and a few steps at least.
func (m *member) workUntil(end time.Time) {
	for n := 0; !m.failed && (n < 5 || time.Now().Before(end)); n++ {
		m.work(memberLabels[m.random.IntN(len(memberLabels))])
		m.check()
	}
}

func (m *member) work(label string) {
	_, runs := m.unikernels[label]
	switch choice := m.random.IntN(8); {
	case choice == 0:
		m.togglePolicy()
	case choice < 3:
		m.toggleDisk()
	case !runs:
		m.create(label)
		m.readConsole(label)
	case choice < 5:
		m.restart(label)
		m.readConsole(label)
	default:
		m.destroy(label)
	}
}

// shows returns a configuration that prints a token.
func shows(token string) messages.Config {
	c := guest("hello", "--quiet", token)
	c.Memory = 4
	return c
}

func (m *member) create(label string) {
	token := m.token()
	if m.change(m.path()+label, create(shows(token))) {
		m.unikernels[label] = token
	}
}

func (m *member) restart(label string) {
	token := m.token()
	arguments := messages.Some(shows(token).Arguments)
	if m.change(m.path()+label, messages.UnikernelRestart{Form: messages.RestartArgs2, Args: arguments}) {
		m.unikernels[label] = token
	}
}

func (m *member) destroy(label string) {
	if m.change(m.path()+label, messages.UnikernelDestroy{}) {
		delete(m.unikernels, label)
	}
}

func (m *member) toggleDisk() {
	if m.disk != "" {
		if m.change(m.path()+"disk", messages.BlockRemove{}) {
			m.disk = ""
		}
		return
	}
	token := m.token()
	if m.change(m.path()+"disk", messages.BlockOldAdd{Size: 1, Data: messages.Some([]byte(token))}) {
		m.disk = token
	}
}

func (m *member) togglePolicy() {
	if m.policy != 0 {
		if m.change(m.path(), messages.PolicyRemove{}) {
			m.policy = 0
		}
		return
	}
	n := len(memberLabels) + 1 + m.random.IntN(100)
	if m.change(m.path(), messages.PolicyAdd{Policy: messages.Policy{Unikernels: n, CPUIDs: []int{0}, Memory: 64, Block: messages.Some(10)}}) {
		m.policy = n
	}
}

// clear removes all that a member has.
func (m *member) clear() {
	for label := range m.unikernels {
		m.destroy(label)
	}
	if m.disk != "" {
		m.toggleDisk()
	}
	if m.policy != 0 {
		m.togglePolicy()
	}
	m.check()
}

// check compares what the daemon lists with what a member has.
func (m *member) check() {
	if m.failed {
		return
	}
	listed, err := m.listed()
	has := map[string]string{}
	for label, token := range m.unikernels {
		has[":"+label] = token
	}
	if m.policy != 0 {
		has["policy :"] = fmt.Sprint(m.policy)
	}
	if m.disk != "" {
		has["disk :disk"] = m.disk
	}
	if err != nil || fmt.Sprint(listed) != fmt.Sprint(has) { // maps are printed in order
		m.complain("the daemon lists %v %v, and it is %v", listed, err, has)
	}
}

// listed returns what the daemon lists for a member below its path, by names that are relative to
// it.
func (m *member) listed() (map[string]string, error) {
	listed := map[string]string{}
	infos, err := m.ask(messages.UnikernelInfo{Form: 6})
	if err != nil {
		return nil, err
	}
	for _, i := range infos.(messages.SuccessInfos).List {
		argv := i.Info.Argv.Value
		listed[i.Name.String()] = argv[len(argv)-1]
	}
	policies, err := m.ask(messages.PolicyInfo{})
	if err != nil {
		return nil, err
	}
	for _, p := range policies.(messages.SuccessPolicies).List {
		listed["policy "+p.Name.String()] = fmt.Sprint(p.Policy.Unikernels)
	}
	blocks, err := m.ask(messages.BlockList{})
	if err != nil {
		return nil, err
	}
	for _, b := range blocks.(messages.SuccessBlocks).List {
		listed["disk "+b.Name.String()], err = m.readDisk()
	}
	return listed, err
}

// ask asks the daemon about the path of a member.
func (m *member) ask(question messages.Command) (messages.Success, error) {
	answer, err := m.h.tryAsk(m.path(), question)
	if err != nil {
		return nil, err
	}
	success, ok := answer.(messages.Success)
	if !ok {
		return nil, fmt.Errorf("%T: %v", question, answer)
	}
	return success, nil
}

// follow asks for a stream, and reads it.
func (m *member) follow(socket, name string, command messages.Command, read func(context.Context, *client.Conn) error) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	n, err := messages.ParseName(name)
	if err != nil {
		return err
	}
	c, err := client.Dial(ctx, m.h.socket(socket))
	if err != nil {
		return err
	}
	defer c.Close()
	if _, err = c.Ask(ctx, n, command); err != nil {
		return err
	}
	return read(ctx, c)
}

// readDisk returns the token in the block device of a member.
func (m *member) readDisk() (token string, err error) {
	err = m.follow("vmmd", m.path()+"disk", messages.BlockDump{}, func(ctx context.Context, c *client.Conn) error {
		contents, err := io.ReadAll(c.Contents(ctx))
		token = string(bytes.TrimRight(contents, "\x00"))
		return err
	})
	return token, err
}

// readConsole reads until a unikernel has printed its token. All lines before must be the member's
// as well.
func (m *member) readConsole(label string) {
	if m.failed {
		return
	}
	var lines []string
	has := func(text string) func(string) bool {
		return func(line string) bool { return strings.Contains(line, text) }
	}
	err := m.follow("console", m.path()+label, messages.ConsoleSubscribe{Count: messages.Some(3)}, func(ctx context.Context, c *client.Conn) error {
		for !slices.ContainsFunc(lines, has(m.unikernels[label])) {
			line, err := c.NextLine(ctx)
			if err != nil {
				return err
			}
			lines = append(lines, line.Line)
		}
		return nil
	})
	strange := func(line string) bool { return has("token")(line) && !has(m.mark())(line) }
	if err != nil || slices.ContainsFunc(lines, strange) {
		m.complain("the console of %s, which is to show %s: %q %v", label, m.unikernels[label], lines, err)
	}
}
