package chaos

import (
	"fmt"
	"slices"
	"sync"

	"albatross/messages"
)

// A kind is one of the kinds of things that a client can see of a host.
type kind string

const (
	unikernel kind = "unikernel"
	policy    kind = "policy"
	device    kind = "block device"
	network   kind = "network"
	end       kind = "end" // of the last run of a unikernel
)

// A thing has a kind and a name. What state it is in is a text; absent is that of
// what is not there.
type thing struct {
	kind kind
	name messages.Name
}

const absent = ""

// A journal is what clients know of a host.
type journal struct {
	mu sync.Mutex
	// states are those that a thing may be in: one where that was acknowledged.
	// What is not mentioned is absent.
	states map[thing][]string
	// past are the states that a thing may have been in since it was last looked at.
	past map[thing][]string
	// late are those that commands without an answer may still bring about, also after later ones
	// that were answered: they may wait in a socket.
	late map[thing][]string
	// moving are the unikernels that change by themselves.
	moving map[messages.Name]bool
	// running are the processes of unikernels that must not have another one.
	running map[messages.Name]messages.Process
}

func newJournal() *journal {
	return &journal{
		states:  map[thing][]string{},
		past:    map[thing][]string{},
		late:    map[thing][]string{},
		moving:  map[messages.Name]bool{},
		running: map[messages.Name]messages.Process{},
	}
}

// may says that a thing may be in some states besides those that it may be in.
func (j *journal) may(t thing, states ...string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.states[t] = union(j.allowed(t), states)
	j.past[t] = union(j.past[t], j.states[t])
}

func union(a, b []string) []string {
	all := slices.Concat(a, b)
	slices.Sort(all)
	return slices.Compact(all)
}

// mayBeBack says that a thing may be in any state that it has been in: what has replaced another one a
// moment ago, and cannot be started again, is replaced by that.
func (j *journal) mayBeBack(t thing) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.states[t] = union(j.allowed(t), j.past[t])
}

// is says that a thing is in one of these states, unless a command without an answer still comes.
func (j *journal) is(t thing, states ...string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.states[t] = states
	if late := j.late[t]; len(late) > 0 {
		j.states[t] = union(states, late)
	}
}

// mayComeLate says that a command without an answer may bring a thing into some states at any time.
func (j *journal) mayComeLate(t thing, states ...string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.late[t] = union(j.late[t], states)
}

// state is that of a thing of which it is certain.
func (j *journal) state(t thing) string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.allowed(t)[0]
}

// all are the states that a thing may be in.
func (j *journal) all(t thing) []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return slices.Clone(j.allowed(t))
}

// allowed needs mu.
func (j *journal) allowed(t thing) []string {
	if states, known := j.states[t]; known {
		return states
	}
	return []string{absent}
}

func (j *journal) isMoving(name messages.Name) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.moving[name]
}

// moves says that a unikernel changes by itself, or not any more.
func (j *journal) moves(name messages.Name, does bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.moving[name] = does
}

// runs says which process a unikernel has, and must have from now on.
func (j *journal) runs(name messages.Name, process messages.Process) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.running[name] = process
}

// process is the one that a unikernel must have, if that is known.
func (j *journal) process(name messages.Name) (p messages.Process, known bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	p, known = j.running[name]
	return p, known
}

// mayEnd says that the process of a unikernel may come to an end.
func (j *journal) mayEnd(name messages.Name) {
	j.mu.Lock()
	defer j.mu.Unlock()
	delete(j.running, name)
}

// there are the names of the things of a kind that may be there.
func (j *journal) there(k kind) (names []messages.Name) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for t, states := range j.states {
		if t.kind == k && !slices.Equal(states, []string{absent}) {
			names = append(names, t.name)
		}
	}
	return names
}

// certain are the unikernels that must run.
func (j *journal) certain() (names []messages.Name) {
	for _, name := range j.there(unikernel) {
		j.mu.Lock()
		states := j.states[thing{unikernel, name}]
		if !j.moving[name] && !slices.Contains(states, absent) && !slices.Contains(states, halted) {
			names = append(names, name)
		}
		j.mu.Unlock()
	}
	return names
}

// A loss is what must not be.
type loss struct {
	figure figure
	text   string
}

// missing tells of what has run all the time and is not seen.
func (j *journal) missing(seen map[thing]string) (losses []loss) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for name := range j.running {
		t := thing{unikernel, name}
		if state := seen[t]; !slices.Contains(j.states[t], state) {
			losses = append(losses, differs(t, state, j.states[t]))
		}
	}
	return losses
}

// compare tells what is not as it must be. What might have been in one of several
// states is in the one from here on in which it was seen.
func (j *journal) compare(seen map[thing]string) (losses []loss) {
	losses = j.differences(seen)
	j.mu.Lock()
	defer j.mu.Unlock()
	for t, state := range seen {
		if !j.moving[t.name] {
			j.states[t] = []string{state}
		}
	}
	clear(j.past)
	clear(j.late)
	return losses
}

// differences tells what is not as it must be. It adds to what is seen what is not there.
func (j *journal) differences(seen map[thing]string) (losses []loss) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for t := range j.states {
		if _, there := seen[t]; !there {
			seen[t] = absent
		}
	}
	for t, state := range seen {
		if allowed := j.allowed(t); !slices.Contains(allowed, state) {
			losses = append(losses, differs(t, state, allowed))
		}
	}
	return losses
}

// replaced tells which unikernels do not run, or as another process than they did.
func (j *journal) replaced(records []messages.Record) (losses []loss) {
	now := map[messages.Name]messages.Process{}
	for _, r := range records {
		now[r.Name] = r.Runtime.Value.Process
		switch {
		case r.Spec.IsStopped() || j.isMoving(r.Name):
		case !r.Runtime.Value.Released:
			losses = append(losses, loss{lost, fmt.Sprintf("%s does not run", r.Name)})
		case r.Runtime.Value.Stopping:
			losses = append(losses, loss{lost, fmt.Sprintf("%s is still being stopped", r.Name)})
		}
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	for name, before := range j.running {
		if now[name] != before {
			losses = append(losses, loss{disturbed, fmt.Sprintf("%s was %v and is %v", name, before, now[name])})
		}
	}
	return losses
}
