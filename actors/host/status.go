package host

import (
	"os"
	"slices"
	"time"

	"albatross/actors/supervise"
	"albatross/messages"
)

// listStatus answers with the status of unikernels. The collector measures those that run.
func (h *host) listStatus(c *supervise.Context, a ask) {
	list := h.statuses(a.name)
	var running []messages.Name
	for i := range list {
		if list[i].PID != 0 {
			running = append(running, list[i].Name)
		}
	}
	if len(running) == 0 {
		h.answerStatus(c, a.ticket, a.name, list)
		return
	}
	h.asking[a.ticket] = statusAsk{a.name, list}
	c.Request(h.stats, messages.StatsSnapshot{ID: uint64(a.ticket), Only: running})
}

// A statusAsk is an answer that lacks what the unikernels use.
type statusAsk struct {
	name messages.Name
	list []messages.UnikernelStatus
}

// statusMeasured completes an answer. Without samples the rest of it is still worth having.
func (h *host) statusMeasured(c *supervise.Context, m messages.StatsSnapshotTaken) {
	t := ticket(m.ID)
	asked, waits := h.asking[t]
	if !waits { // it was answered when the collector failed
		return
	}
	delete(h.asking, t)
	used := make(map[messages.Name]messages.Use, len(m.Samples))
	for i := range m.Samples {
		if mem := m.Samples[i].Stats.KinfoMem; mem.OK {
			used[m.Samples[i].Name] = messages.Use{
				CPU:    time.Duration(mem.Value.Runtime) * time.Microsecond,
				Memory: mem.Value.RSS * int64(os.Getpagesize()),
			}
		}
	}
	for i := range asked.list {
		if u, ok := used[asked.list[i].Name]; ok {
			asked.list[i].Used = messages.Some(u)
		}
	}
	h.answerStatus(c, t, asked.name, asked.list)
}

func (h *host) answerStatus(c *supervise.Context, t ticket, name messages.Name, list []messages.UnikernelStatus) {
	for i := range list {
		list[i].Name = name.Relative(list[i].Name)
	}
	h.answer(c, t, messages.SuccessStatuses{List: list})
}

// statuses returns the status of the unikernel of a name, or of those at and below a path, in the
// order of listings, also of those that are gone, as long as their consoles are kept.
func (h *host) statuses(name messages.Name) (list []messages.UnikernelStatus) {
	if !name.IsPath() {
		if s, known := h.statusOf(name); known {
			list = append(list, s)
		}
		return list
	}
	names := h.namesAt(name)
	for n := range h.consoles.byName {
		if h.slots[n] == nil && name.Covers(n) {
			names = append(names, n)
		}
	}
	slices.SortFunc(names, messages.Name.Compare)
	for _, n := range names {
		if s, known := h.statusOf(n); known {
			list = append(list, s)
		}
	}
	return list
}

// statusOf returns the status of a unikernel, if there is any, or was.
func (h *host) statusOf(name messages.Name) (s messages.UnikernelStatus, known bool) {
	s.Name = name
	if console := h.consoles.byName[name]; console != nil {
		s.End = console.end
	}
	slot := h.slots[name]
	switch {
	case slot != nil && slot.current != nil:
		h.describe(&s, slot.current)
		return s, true
	case slot != nil && slot.next != nil:
		h.describe(&s, slot.next)
		s.State, s.PID = messages.StateStarting, 0
		return s, true
	}
	s.State = messages.StateEnded
	return s, s.End.OK
}

func (h *host) describe(s *messages.UnikernelStatus, r *run) {
	args := r.spec.Arguments
	s.Digest, s.Blocks = r.spec.Digest, h.blockInfos(s.Name, args)
	s.Owner = r.spec.Owner
	s.Started, s.Restarts, s.Wait = r.started, r.restarts, r.waits()
	if r.spec.IsStopped() {
		s.Stopped = time.UnixMilli(r.spec.StoppedMillis).UTC()
	}
	s.State = stateOf(r)
	if s.State == messages.StateRunning {
		s.PID, s.Health = r.target.Process.PID, r.health
	}
	args.Argv, args.Blocks = messages.Option[[]string]{}, nil
	args.Networks = slices.Clone(args.Networks) // others share them
	for i, n := range args.Networks {
		args.Networks[i].MAC = messages.Some(n.Address(s.Name))
	}
	s.Arguments = args
}

func stateOf(r *run) messages.UnikernelState {
	switch {
	case r.spec.IsStopped():
		return messages.StateStopped
	case r.unstored != "":
		return messages.StateWaiting
	case r.wait.OK && !r.wait.Value.Until.IsZero():
		return messages.StateRestarting
	case r.wait.OK:
		return messages.StateWaiting
	case r.started.IsZero():
		return messages.StateStarting
	}
	return messages.StateRunning
}
