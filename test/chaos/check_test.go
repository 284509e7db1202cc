package chaos

import (
	"context"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/stretchr/testify/require"

	"albatross/messages"
	"albatross/runtime/history"
	"albatross/sockets/client"
)

// check looks at what a daemon that has just started makes of the host, and
// counts what is wrong. What has run it must know at once; what it has to start,
// and what it has to clear away, take a moment.
func (h *host) check() {
	h.t.Helper()
	h.checks++
	if h.rough {
		h.settle()
	}
	h.count(h.journal.missing(h.see()))
	var strays []loss
	if !within(patience, func() bool { strays = h.strays(); return len(strays) == 0 }) {
		h.count(strays)
	}
	h.count(h.journal.compare(h.see()))
	h.noteProcesses()
	if _, runs := h.journal.process(parse(echoing)); runs {
		h.echo()
	}
	if _, runs := h.journal.process(parse(ticking)); runs && h.checks%ticksEvery == 0 {
		h.count(h.listen())
	}
	if h.t.Failed() {
		h.t.FailNow() // what comes after would fail for the same reason
	}
}

// count counts losses, and tells them.
func (h *host) count(losses []loss) {
	for _, l := range losses {
		sum.add(h.mode, l.figure, 1)
		h.t.Errorf("%s: %s: %s", h.doing, l.figure, l.text)
	}
}

// see is all that clients can see, and the contents of block devices.
func (h *host) see() map[thing]string {
	h.t.Helper()
	c := &caller{h: h}
	seen := map[thing]string{}
	networks := c.networks()
	for _, n := range networks {
		seen[thing{network, n.Name}] = stateOfNetwork(n.Spec)
	}
	ports := publications(networks)
	for _, i := range c.infos() {
		seen[thing{unikernel, i.Name}] = stateOfUnikernel(i.Info, ports[i.Name])
	}
	for _, p := range c.policies() {
		seen[thing{policy, p.Name}] = stateOfPolicy(p.Policy)
	}
	for _, d := range c.devices() {
		seen[thing{device, d.Name}] = h.stateOfFile(d)
	}
	for _, e := range c.ends() {
		if !h.rough {
			seen[thing{end, e.Name}] = e.End.Exit.String()
		}
		if e.StoppedMillis != 0 {
			seen[thing{unikernel, e.Name}] += halted // and not behind another state
		}
	}
	require.False(h.t, c.dead, "%s: the daemon has died again", h.doing)
	return seen
}

// stateOfFile is that of the file of a block device.
func (h *host) stateOfFile(d messages.NamedBlock) string {
	contents, err := os.ReadFile(h.path("db", "block", d.Name.String()))
	if err != nil {
		return err.Error()
	}
	return stateOfDevice(d.Size, contents)
}

// settle waits until a daemon has coped with faults: actors that have failed are there again, and
// what was under way for clients that have left has come to its end.
func (h *host) settle() {
	within(patience, func() bool {
		return !h.tries() && len(h.journal.differences(h.see())) == 0 && len(h.strays()) == 0
	})
}

// tries tells whether the daemon still tries something with a unikernel, as it may have promised a client
// who was refused: it starts it, or waits until it can, or until it can store what has become of it.
func (h *host) tries() bool {
	h.t.Helper()
	for _, s := range (&caller{h: h}).statuses() {
		if s.Wait.OK || s.State != messages.StateRunning && s.State != messages.StateStopped && s.State != messages.StateEnded {
			return true
		}
	}
	return false
}

// noteProcesses notes which process each unikernel has that is certain to run.
func (h *host) noteProcesses() {
	h.t.Helper()
	processes := h.processes()
	for _, name := range h.journal.certain() {
		if found := processes[name.Label]; len(found) == 1 {
			h.journal.runs(name, found[0])
		}
	}
}

// ticksEvery is how many checks there are for one that waits for a line of a
// console, of which there is one in a second.
const ticksEvery = 4

// listen waits for a line of the ticking unikernel that has not been seen, and
// tells where one before it is missing, or there twice.
func (h *host) listen() (losses []loss) {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	conn, err := client.Dial(ctx, h.socket("console"))
	require.NoError(h.t, err, h.doing)
	defer conn.Close()
	_, err = conn.Ask(ctx, parse(ticking), messages.ConsoleSubscribe{Count: messages.Some(history.Lines)})
	require.NoError(h.t, err, h.doing)
	for seen, before := h.ticks, -1; h.ticks == seen; {
		line, err := conn.NextLine(ctx)
		require.NoError(h.t, err, "%s: the console of %s", h.doing, ticking)
		tick, number := strings.CutPrefix(line.Line, "tick ")
		if !number {
			tick = "0" // the line before the first
		}
		now, err := strconv.Atoi(tick)
		if err != nil || before >= 0 && now != before+1 {
			losses = append(losses, loss{muted, fmt.Sprintf("after tick %d came %q", before, line.Line)})
		}
		before, h.ticks = now, max(h.ticks, now)
	}
	return losses
}

// The addresses of the unikernel that sends frames back and of whoever asks it.
var echoMAC = messages.MAC{2, 0, 0, 0, 0, 1}

const portMAC = "\x02\x00\x00\x00\x00\x02"

// echo makes sure that frames come back. Each is another one.
func (h *host) echo() {
	h.t.Helper()
	payload := "\x88\xb5" + fmt.Sprint(h.checks)
	h.port.Ask(string(echoMAC[:])+portMAC+payload, portMAC+string(echoMAC[:])+payload)
}

// strays is what is there and nobody's, or not there and somebody's, and which
// unikernels do not run as they should. A moment after a start there may be some.
func (h *host) strays() (losses []loss) {
	s, err := h.stored()
	if err != nil {
		return []loss{{lost, err.Error()}}
	}
	records := s.state.Unikernels
	recorded, there := h.recorded(s.state), h.inventory()
	for _, what := range slices.Sorted(maps.Keys(there)) {
		losses = append(losses, differ(what, recorded[what], there[what])...)
	}
	losses = append(losses, s.contradictions(h.rough)...)
	return append(losses, h.journal.replaced(records)...)
}

// differ compares what should be there with what is.
func differ(what string, recorded, there []string) (losses []loss) {
	for _, name := range there {
		if !slices.Contains(recorded, name) {
			losses = append(losses, loss{orphaned, fmt.Sprintf("%s %s is nobody's", what, name)})
		}
	}
	for _, name := range recorded {
		if !slices.Contains(there, name) {
			losses = append(losses, loss{lost, fmt.Sprintf("%s %s is not there", what, name)})
		}
	}
	return losses
}
