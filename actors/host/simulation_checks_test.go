package host

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"

	"albatross/actors/ledger"
	"albatross/messages"
)

func tagOf(spec messages.Spec) string { return spec.Arguments.Argv.Value[0] }

// asksFor returns the request that has created the unikernel with a tag.
func (s *simulation) asksFor(name messages.Name, tag string) *request {
	for _, r := range s.requests {
		if r.name == name && r.tag == tag {
			return r
		}
	}
	return nil
}

// under reports whether such a request has been under way since a time.
func (s *simulation) under(name messages.Name, since time.Time, is func(messages.Command) bool) bool {
	return slices.ContainsFunc(s.requests, func(r *request) bool {
		return r.concerns(name) && is(r.command) && (r.answered.IsZero() || !r.answered.Before(since) || s.owed(r))
	})
}

// owed reports whether a destroy has been answered with the promise that it is carried out later.
func (s *simulation) owed(r *request) bool {
	failure, _ := r.payload.(messages.Failure)
	return (destroys(r.command) || renames(r.command)) && strings.HasSuffix(string(failure.Text), "this is tried again until it can") && !r.answered.Before(s.put[r.name])
}

// disturbs reports whether a command ends a unikernel that runs.
func disturbs(command messages.Command) bool {
	switch c := command.(type) {
	case messages.UnikernelCreate:
		return c.Force
	case messages.UnikernelRestart, messages.RollbackRequest, messages.UnikernelDestroy, messages.StopRequest:
		return true
	}
	return false
}

func stops(command messages.Command) bool { return command == messages.StopRequest{} }

func renames(command messages.Command) bool {
	_, is := command.(messages.RenameRequest)
	return is
}

// runs reports whether a command makes a unikernel run that is stopped.
func runs(command messages.Command) bool {
	switch c := command.(type) {
	case messages.UnikernelCreate:
		return c.Force
	case messages.UnikernelRestart, messages.RollbackRequest, messages.StartRequest:
		return true
	}
	return false
}

func destroys(command messages.Command) bool { return command == messages.UnikernelDestroy{} }

// mayRestart reports whether a restart may be under way. A unikernel that has ended meanwhile is
// created again.
func (s *simulation) mayRestart(name messages.Name) bool {
	return slices.ContainsFunc(s.requests, func(r *request) bool {
		_, restarts := r.command.(messages.UnikernelRestart)
		_, rollsBack := r.command.(messages.RollbackRequest)
		return (restarts || rollsBack) && r.name == name && (r.answered.IsZero() || r.lost)
	})
}

// mayRename reports whether a rename from or to a name may be under way.
func (s *simulation) mayRename(name messages.Name) bool {
	return slices.ContainsFunc(s.requests, func(r *request) bool {
		return r.concerns(name) && renames(r.command) && (r.answered.IsZero() || r.lost || s.owed(r))
	})
}

func changes(command messages.Command) bool {
	_, creates := command.(messages.UnikernelCreate)
	return creates || runs(command) || renames(command) || disturbs(command)
}

// startsAgain reports whether a unikernel that has ended by itself is started again.
func startsAgain(spec messages.Spec, exit messages.Exit) bool {
	fail := spec.Arguments.Fail
	switch {
	case !fail.Restart:
		return false
	case !exit.Known:
		return true
	case exit.OutOfMemory:
		return len(fail.Codes) == 0
	case exit.Signal != 0, exit.Code == 1, exit.Code == 64:
		return false
	}
	return len(fail.Codes) == 0 || slices.Contains(fail.Codes, exit.Code)
}

// checkStart checks a process that begins to run: if it is started again, that is right, and not
// too soon.
func (s *simulation) checkStart(p *process) {
	s.began[tagOf(p.spec)] = p.released
	before, pause := s.last[p.name], s.pauses[p.name]
	delete(s.pauses, p.name)
	again := before != nil && tagOf(before.spec) == tagOf(p.spec) && s.quiet(before.released) && !s.under(p.name, before.released, changes)
	if !again {
		return
	}
	if !startsAgain(before.spec, before.exit) {
		s.violate("%v: it is started again after %v", p.name, before.exit)
	}
	if before.ended.Sub(before.released) >= time.Minute {
		pause = 0
	}
	pause = min(max(2*pause, 100*time.Millisecond), 30*time.Second)
	if waited := p.released.Sub(before.ended); waited < pause {
		s.violate("%v: it is started again after %v, and not %v", p.name, waited, pause)
	}
	s.pauses[p.name] = pause
}

// checkPolicies checks what runs against the policies at a path and above.
func (s *simulation) checkPolicies(path messages.Path) {
	s.checkPolicy(messages.Root, machineHas)
	for at := path; at != messages.Root; at = at.Parent() {
		if p := s.granted[at]; p.OK {
			s.checkPolicy(at, p.Value)
		}
	}
}

func (s *simulation) checkPolicy(path messages.Path, policy messages.Policy) {
	count, memory := 0, 0
	for _, p := range s.processes {
		if p.gated || !path.Contains(p.name.Path) {
			continue
		}
		count, memory = count+1, memory+p.spec.Arguments.Memory
		for _, cpu := range p.spec.Arguments.CPUIDs {
			if !slices.Contains(policy.CPUIDs, cpu) {
				s.violate("%v: it has a CPU that the policy of %q forbids", p.name, path)
			}
		}
		for _, bridge := range ledger.Bridges(p.spec.Arguments) {
			if !slices.Contains(policy.Bridges, bridge) {
				s.violate("%v: it has a bridge that the policy of %q forbids", p.name, path)
			}
		}
	}
	if count > policy.Unikernels || memory > policy.Memory {
		s.violate("%d unikernels with %d MB are more than the policy of %q allows: %v", count, memory, path, policy)
	}
}

// checkSignal checks that a daemon ends only a unikernel that a command is about.
func (s *simulation) checkSignal(p *process) {
	if !s.records[p.name].Runtime.Value.Released { // else the disk was broken when that was to be stored
		p.asked = time.Now()
	}
	if record := s.records[p.name]; record.Spec.Former != nil && maySicken(record.Spec) && time.Since(p.released) >= record.Spec.Arguments.Health.Value.Time() {
		return // it is sick, and its former is started again
	}
	if !s.under(p.name, p.released, disturbs) {
		s.violate("%v: process %d is interrupted", p.name, p.id.PID)
	}
}

// checkPut checks a change of what should run.
func (s *simulation) checkPut(c messages.PutSpec) {
	old, there := s.records[c.Name]
	tag := tagOf(c.Spec)
	s.checkStopped(c, old)
	if c.Spec.Former != nil {
		s.formers[tagOf(c.Spec.Former.Spec)] = true
	}
	if there && tagOf(old.Spec) == tag {
		return
	}
	s.put[c.Name] = time.Now()
	if there && s.formers[tag] { // the former comes back, or its own former where that fails, too
		return
	}
	r := s.asksFor(c.Name, tag)
	if (r == nil || !r.answered.IsZero() && !r.lost) && !s.mayRestart(c.Name) && !s.mayRename(c.Name) {
		s.violate("%v: %s is put on record, which nobody waits for", c.Name, tag)
	}
}

// checkStopped checks that a unikernel is stopped, and to run again, only if somebody asks for that.
func (s *simulation) checkStopped(c messages.PutSpec, old messages.Record) {
	switch {
	case c.Spec.StoppedMillis == old.Spec.StoppedMillis:
	case c.Spec.IsStopped():
		if !s.formers[tagOf(c.Spec)] && !s.under(c.Name, s.put[c.Name], stops) && !s.mayRename(c.Name) {
			s.violate("%v: it is stopped, which nobody has asked for", c.Name)
		}
	case !s.under(c.Name, time.UnixMilli(old.Spec.StoppedMillis), runs):
		s.violate("%v: it is to run again, which nobody has asked for", c.Name)
	}
}

// goesOn reports whether a stop of what is on record was refused, which may be on record all the same.
func (s *simulation) goesOn(name messages.Name) bool {
	return slices.ContainsFunc(s.requests, func(r *request) bool {
		_, refused := r.payload.(messages.Failure)
		return r.name == name && stops(r.command) && refused && !r.answered.Before(s.put[name])
	})
}

// checkDelete checks a removal of what should run.
func (s *simulation) checkDelete(name messages.Name, before []messages.Change) {
	record, there := s.records[name]
	if !there || s.under(name, s.put[name], destroys) || record.Spec.IsStopped() && s.mayRename(name) {
		return
	}
	r, last := s.asksFor(name, tagOf(record.Spec)), s.last[name]
	acknowledged := r != nil && !r.lost && r.payload == messages.Payload(messages.SuccessText{Text: "created unikernel"})
	switch {
	case record.Spec.IsStopped(), record.Runtime.Value.Stopping && !s.goesOn(name):
		s.violate("%v: it is forgotten, and has been stopped", name)
	case record.Spec.Former != nil && !barred(before) && !endsTrial(last, record.Spec):
		s.violate("%v: it does not come back after its successor", name)
	case !acknowledged:
	case last == nil || tagOf(last.spec) != tagOf(record.Spec):
		s.violate("%v: it is forgotten, and has not ended", name)
	case !last.asked.IsZero() && max(last.ended.Sub(last.asked), last.noticed.Sub(last.asked)) < grace:
		s.violate("%v: it is forgotten, and has been stopped for its successor", name)
	case startsAgain(last.spec, last.exit):
		s.violate("%v: it is forgotten after %v", name, last.exit)
	}
}

// endsTrial reports whether a process has ended as one does that has not been refused.
func endsTrial(last *process, spec messages.Spec) bool {
	if last == nil || last.spec.Former == nil || tagOf(last.spec) != tagOf(spec) {
		return false
	}
	return last.exit != messages.Exit{Known: true, Code: 1} || last.ended.Sub(last.released) >= Trial
}

// checkAnswer checks that an answer is true.
func (s *simulation) checkAnswer(r *request) {
	alone := !slices.ContainsFunc(s.requests, func(other *request) bool {
		return other != r && other.concerns(r.name) && changes(other.command) && (other.answered.IsZero() || other.answered.After(r.at))
	})
	text, _ := r.payload.(messages.SuccessText)
	switch {
	case r.payload == nil:
	case text.Text == "created unikernel":
		if r.command == messages.Command(messages.StartRequest{}) && alone {
			s.checkStarted(r)
		}
		began, ok := s.began[r.tag]
		if r.tag != "" && (!ok || began.Before(r.at)) {
			s.violate("%v: %s is created, and has not run", r.name, r.tag)
		}
	case strings.HasPrefix(string(text.Text), "destroyed") && alone:
		if _, there := s.records[r.name]; there || s.of(r.name) != nil {
			s.violate("%v: it is destroyed, and still there", r.name)
		}
	case text.Text == "stopped unikernel" && alone:
		if p := s.of(r.name); p != nil || !s.records[r.name].Spec.IsStopped() {
			s.violate("%v: it is stopped, and not on record as such, or runs", r.name)
		}
	case text.Text == "renamed unikernel" && alone:
		to := r.command.(messages.RenameRequest).To
		if _, there := s.records[r.name]; there {
			s.violate("%v: it is renamed, and still has its former name", r.name)
		}
		if !s.records[to].Spec.IsStopped() && !s.under(to, r.at, func(c messages.Command) bool { return runs(c) || destroys(c) }) {
			s.violate("%v: it is renamed to %v, and not stopped there", r.name, to)
		}
	case text.Text == "added policy" && s.onlyPolicy(r):
		s.granted[r.name.Path] = messages.Some(r.command.(messages.PolicyAdd).Policy)
		s.checkPolicies(r.name.Path)
	case text.Text == "removed policy" && s.onlyPolicy(r):
		s.granted[r.name.Path] = messages.Option[messages.Policy]{}
	}
}

// checkStarted checks that a unikernel has run since it was asked to start, if it is still there.
func (s *simulation) checkStarted(r *request) {
	record, there := s.records[r.name]
	if there && s.began[tagOf(record.Spec)].Before(r.at) {
		s.violate("%v: it is started, and has not run", r.name)
	}
}

// checkLastStops checks that what was stopped is still stopped if nothing else was asked since.
func (s *simulation) checkLastStops() {
	for _, r := range s.requests {
		text, _ := r.payload.(messages.SuccessText)
		later := func(other *request) bool {
			return other != r && other.concerns(r.name) && changes(other.command) && (other.lost || !other.answered.Before(r.at) || s.owed(other))
		}
		if text.Text == "stopped unikernel" && !slices.ContainsFunc(s.requests, later) && !s.records[r.name].Spec.IsStopped() {
			s.violate("%v: it was stopped, and is not any more", r.name)
		}
	}
}

// onlyPolicy reports whether no later request is about the policy.
func (s *simulation) onlyPolicy(r *request) bool {
	return !slices.ContainsFunc(s.requests, func(other *request) bool {
		_, adds := other.command.(messages.PolicyAdd)
		_, removes := other.command.(messages.PolicyRemove)
		return other != r && (adds || removes) && other.name.Path == r.name.Path && !other.at.Before(r.at)
	})
}

// checkRest checks what is left when nothing is under way: each unikernel on record runs, with all
// that it needs, and nothing else is there.
func (s *simulation) checkRest() {
	synctest.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.requests {
		if r.answered.IsZero() {
			s.violate("%v: %T %s is never answered", r.name, r.command, r.tag)
		}
	}
	s.checkLastStops()
	all, names, needed, pins := map[messages.Name]bool{}, map[messages.Name]bool{}, map[messages.Digest]bool{}, map[messages.Digest]int{}
	for name, record := range s.records {
		all[name] = true
		for digest := range digests(record.Spec) {
			needed[digest] = true
		}
		if record.Spec.IsStopped() {
			s.checkRests(record)
			continue
		}
		names[name] = true
		pins[record.Spec.Digest]++
		p := s.of(name)
		switch {
		case p == nil || p.gated:
			s.violate("%v: it is on record, and does not run", name)
		case p.id != record.Runtime.Value.Process || tagOf(p.spec) != tagOf(record.Spec):
			s.violate("%v: something else runs than what is on record", name)
		case record.Spec.Former != nil || !record.Runtime.Value.Released:
			s.violate("%v: it is still about to be started", name)
		case record.Runtime.Value.Stopping:
			s.violate("%v: it is still about to be stopped", name)
		}
		for _, link := range record.Runtime.Value.Taps {
			if t := s.taps[link]; t == nil || t.owner != nil || t.name != name {
				s.violate("%v: it has lost a tap", name)
			}
		}
	}
	taps := 0
	for _, record := range s.records {
		taps += len(record.Runtime.Value.Taps)
	}
	s.same("processes", len(names), len(s.processes))
	s.same("handles", len(names), s.os.handles)
	s.same("taps", taps, len(s.taps))
	s.sameNames("console pipes", names, s.pipes)
	s.sameNames("cgroups", names, s.cgroups)
	s.same("images", needed, s.images)
	s.same("pins", pins, s.os.pins)
	for path, policy := range s.granted {
		stored, there := s.policies[path]
		s.same(fmt.Sprintf("policy of %q", path), policy.OK, there)
		if there {
			s.same(fmt.Sprintf("policy of %q", path), policy.Value, stored)
		}
	}
	s.checkHost(all)
}

// checkRests checks that a stopped unikernel has nothing on the machine.
func (s *simulation) checkRests(record messages.Record) {
	if s.of(record.Name) != nil || record.Runtime.OK || record.Spec.Former != nil {
		s.violate("%v: it is stopped, and there is something of it: %+v", record.Name, record)
	}
}

func (s *simulation) same(what string, wanted, is any) {
	if !assert.ObjectsAreEqual(wanted, is) {
		s.violate("%s: there should be %v, and is %v", what, wanted, is)
	}
}

// sameNames compares the names of two sets. What the host has made for a unikernel while it fails
// is found by its name, by the next daemon or by the next unikernel of that name.
func (s *simulation) sameNames(what string, wanted, is map[messages.Name]bool) {
	if s.os.recovers {
		is = maps.Clone(is)
		maps.DeleteFunc(is, func(name messages.Name, _ bool) bool { return !wanted[name] })
	}
	s.same(what, wanted, is)
}

// checkHost checks what the host remembers.
func (s *simulation) checkHost(names map[messages.Name]bool) {
	h := s.newest
	s.same("tickets", 0, len(h.open)+len(h.early)+len(h.policies.waiting)+len(h.renames))
	s.same("tenants", names, func() map[messages.Name]bool {
		known := map[messages.Name]bool{}
		for name := range maps.Keys(h.slots) {
			known[name] = true
		}
		return known
	}())
	for name, t := range h.slots {
		if t.phase != settled || t.current == nil || t.next != nil || t.former != nil || len(t.waiting) > 0 {
			s.violate("%v: the host is not done with it: %+v", name, *t)
		}
	}
	s.same("unikernel actors", len(names), s.system.Population()["unikernel"].Actors)
	l := ledger.New()
	l.HoldMachine(machineHas)
	for path, policy := range s.policies {
		l.HoldPolicy(path, policy)
	}
	l.HoldDevice(simulatedDisk, 1)
	for name, record := range s.records {
		l.Hold(name, record.Spec.Arguments)
	}
	s.same("ledger", l, h.ledger)
	wanted := &demand{known: true, specs: map[messages.Digest]int{}}
	for _, record := range s.records {
		for digest := range digests(record.Spec) {
			wanted.change(digest, 1)
		}
	}
	s.same("needed images", wanted, h.images)
}
