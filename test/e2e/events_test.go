package e2e

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"albatross/messages"
	"albatross/sockets/client"
)

// always is the time to ask from for all events.
var always = messages.Some(time.Unix(0, 0).UTC())

// A listener follows events.
type listener struct {
	t      *testing.T
	stream *client.EventStream
	ctx    context.Context
	heard  []messages.NumberedEvent
}

func (h *host) listen(name string, since messages.Option[time.Time]) *listener {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
	h.t.Cleanup(cancel)
	conn, err := client.Dial(ctx, h.socket("control"))
	require.NoError(h.t, err)
	h.t.Cleanup(func() { _ = conn.Close() })
	stream, err := conn.Events(ctx, parse(h.t, name), since)
	require.NoError(h.t, err)
	return &listener{t: h.t, stream: stream, ctx: ctx}
}

// until reads up to an event, and returns it and those before it that are new.
func (l *listener) until(kind messages.EventKind, name string) (texts []string) {
	l.t.Helper()
	for {
		next, err := l.stream.Next(l.ctx)
		require.NoError(l.t, err, "%v", texts)
		e, ok := next.(messages.DataEvent)
		if !ok {
			require.IsType(l.t, messages.DataPresent{}, next)
			continue
		}
		requirePublic(l.t, e)
		l.heard = append(l.heard, e.NumberedEvent)
		texts = append(texts, textOf(e.Event))
		if e.Event.Kind == kind && e.Event.Name == parse(l.t, name) {
			return texts
		}
	}
}

func textOf(e messages.Event) string {
	text := fmt.Sprintf("%s %s", e.Name, e.Kind)
	if e.Exit.OK {
		text += " " + e.Exit.Value.String()
	}
	return text + ": " + string(e.Cause)
}

// TestEvents: all events come in order, with their causes: at once, and later, and from the next
// daemon.
func TestEvents(t *testing.T) {
	h := newHost(t)
	begun := time.Now()
	l := h.listen(":", always)
	require.Equal(t, []string{": daemon-started: "}, l.until(messages.EventDaemonStarted, ":"))

	policy := messages.Policy{Unikernels: 2, CPUIDs: []int{0}, Memory: 64}
	h.ask("a:", messages.PolicyAdd{Policy: policy})
	policy.Memory = 32
	h.ask("a:", messages.PolicyAdd{Policy: policy})
	h.ask("a:", messages.PolicyRemove{})
	require.Equal(t, []string{
		"a: policy-added: the command add-policy", "a: policy-changed: the command add-policy", "a: policy-removed: the command remove-policy",
	}, l.until(messages.EventPolicyRemoved, "a:"))

	h.ask("a:d", messages.BlockAdd{Size: 1})
	u := h.set("a:d", false)
	u.write([]byte("contents"))
	u.end()
	u.requireAnswer(messages.SuccessText{Text: "set block device"})
	h.ask("a:d", messages.BlockRemove{})
	require.Equal(t, []string{
		"a:d block-created: the command create-block", "a:d block-set: the command set-block", "a:d block-removed: the command destroy-block",
	}, l.until(messages.EventBlockRemoved, "a:d"))

	quits := guest("exit", "3")
	quits.AddName = false
	h.create("a:quits", quits)
	require.Equal(t, []string{
		"a:quits created: the command create", "a:quits started: the command create",
		"a:quits exited exit 3: it ended by itself", "a:quits destroyed: exit 3 asks for no restart",
	}, l.until(messages.EventDestroyed, "a:quits"))

	quits.Fail = messages.FailBehaviour{Restart: true, Codes: []int{3}}
	h.create("loops", quits)
	l.until(messages.EventRestarting, "loops")
	require.Equal(t, []string{
		":loops started: exit 3 asks for a restart", ":loops exited exit 3: it ended by itself", ":loops restarting: exit 3 asks for a restart",
	}, l.until(messages.EventRestarting, "loops"))
	h.ask("loops", messages.UnikernelDestroy{})
	texts := l.until(messages.EventDestroyed, "loops")
	require.Equal(t, ":loops destroyed: the command destroy", texts[len(texts)-1])

	h.create("stays", guest("hello", "--quiet"))
	l.until(messages.EventStarted, "stays")
	last := l.heard[len(l.heard)-1] // a record of it is on disk, since its event is
	h.kill()
	next, err := l.stream.Next(l.ctx)
	require.Error(t, err, "the daemon is gone, and has sent %v", next)
	h.start()

	later := h.listen(":", messages.Some(last.Event.Time()))
	texts = later.until(messages.EventAdopted, "stays")
	require.Contains(t, later.heard, last, "the last event that was read comes again: it was at that time")
	require.Equal(t, []string{": daemon-started: ", ":stays adopted: the daemon started"}, texts[len(texts)-2:])
	h.ask("stays", messages.UnikernelDestroy{})
	require.Equal(t, []string{":stays exited signal 15: the command destroy", ":stays destroyed: the command destroy"},
		later.until(messages.EventDestroyed, "stays"))

	all := h.listen(":", always)
	all.until(messages.EventDestroyed, "stays")
	fresh := later.heard[slices.Index(later.heard, last)+1:]
	require.Equal(t, append(l.heard, fresh...), all.heard)
	for i, e := range all.heard {
		require.Equal(t, uint64(i+1), e.Number)
		require.WithinRange(t, e.Event.Time(), begun.Add(-patience), time.Now())
	}
	path := h.listen("a:", always)
	require.Equal(t, ":quits destroyed: exit 3 asks for no restart", lastOf(path.until(messages.EventDestroyed, "quits")))
	for _, e := range path.heard {
		require.False(t, strings.HasPrefix(e.Event.Name.String(), "a:"), "relative to the path: %s", e.Event.Name)
	}
	require.Len(t, path.heard, 10)
}

func lastOf(list []string) string { return list[len(list)-1] }

// TestThousandEvents: a client that comes late gets the events of thousands of commands as quickly
// as it reads.
func TestThousandEvents(t *testing.T) {
	const commands = 500
	h := newHost(t)
	live := h.listen(":", always)
	policy := messages.Policy{Unikernels: 2, CPUIDs: []int{0}, Memory: 64}
	for i := range commands {
		name := fmt.Sprintf("p%d:", i)
		h.ask(name, messages.PolicyAdd{Policy: policy})
		h.ask(name, messages.PolicyRemove{})
	}
	end := fmt.Sprintf("p%d:", commands-1)
	live.until(messages.EventPolicyRemoved, end)
	late := h.listen(":", always)
	late.until(messages.EventPolicyRemoved, end)
	require.Equal(t, live.heard, late.heard)
	require.Len(t, late.heard, 2*commands+1)
}
