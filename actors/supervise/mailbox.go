package supervise

import (
	"sync"

	"github.com/asynkron/protoactor-go/actor"
)

// maxQueued bounds every mailbox. Protocols between actors stay far below: at most one
// request per session and one report per child are under way.
const maxQueued = 1 << 16

// keepQueued is the largest queue whose memory is kept when it becomes empty.
const keepQueued = 1 << 10

// A mailbox is a bounded queue that runs its actor on a goroutine of its own while there
// is something to do. Unlike protoactor's it neither runs before Start, nor spins on nil
// or on dropped messages, nor keeps the memory of a flood.
type mailbox struct {
	invoker    actor.MessageInvoker
	dispatcher actor.Dispatcher
	overflow   func(message any) // called for a dropped message
	refuse     func(message any) // called for a message that comes too late

	mu        sync.Mutex // guards all below
	system    []any
	user      []any
	started   bool
	running   bool // a goroutine is in process
	suspended bool // after a failure, until the supervisor has decided
	closed    bool // the actor has ended
}

var _ actor.Mailbox = (*mailbox)(nil)

func (m *mailbox) RegisterHandlers(invoker actor.MessageInvoker, dispatcher actor.Dispatcher) {
	m.invoker, m.dispatcher = invoker, dispatcher
}

func (m *mailbox) Start() {
	m.mu.Lock()
	m.started = true
	m.unlockAndRun()
}

func (m *mailbox) PostUserMessage(message any) {
	m.mu.Lock()
	if drop := m.dropper(message); drop != nil {
		m.mu.Unlock()
		drop(message)
		return
	}
	m.user = append(m.user, message)
	m.unlockAndRun()
}

// dropper returns the function to call for a message that cannot be queued.
func (m *mailbox) dropper(message any) func(any) {
	_, pill := message.(*actor.PoisonPill) // dropping it would make a stopper wait for ever
	switch {
	case m.closed:
		return m.refuse
	case message == nil || len(m.user) >= maxQueued && !pill:
		return m.overflow
	}
	return nil
}

// close refuses what is queued, and all that comes later. Protoactor would drop it
// silently.
func (m *mailbox) close() {
	m.mu.Lock()
	m.closed = true
	late := m.user
	m.user = nil
	m.mu.Unlock()
	for _, message := range late {
		m.refuse(message)
	}
}

func (m *mailbox) PostSystemMessage(message any) {
	m.mu.Lock()
	m.system = append(m.system, message)
	m.unlockAndRun()
}

func (m *mailbox) UserMessageCount() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.user)
}

// unlockAndRun unlocks mu, and starts process if necessary.
func (m *mailbox) unlockAndRun() {
	run := m.started && !m.running && m.pending()
	m.running = m.running || run
	m.mu.Unlock()
	if run {
		m.dispatcher.Schedule(m.process)
	}
}

// pending reports whether a message can be handled now.
func (m *mailbox) pending() bool {
	return len(m.system) > 0 || !m.suspended && len(m.user) > 0
}

// process handles messages until none is pending.
func (m *mailbox) process() {
	for {
		message, isSystem, ok := m.next()
		if !ok {
			return
		}
		m.invoke(message, isSystem)
	}
}

// next takes the first message, system messages first. If there is none, the mailbox is
// no longer running.
func (m *mailbox) next() (message any, isSystem, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.pending() {
		m.running = false
		return nil, false, false
	}
	if len(m.system) > 0 {
		return pop(&m.system), true, true
	}
	return pop(&m.user), false, true
}

// pop takes the first element of a nonempty queue.
func pop(queue *[]any) any {
	q := *queue
	first := q[0]
	q[0] = nil // the array outlives the message
	*queue = q[1:]
	if len(*queue) == 0 {
		*queue = nil
		if cap(q) <= keepQueued {
			*queue = q[:0]
		}
	}
	return first
}

func (m *mailbox) invoke(message any, isSystem bool) {
	defer func() {
		if reason := recover(); reason != nil {
			m.invoker.EscalateFailure(reason, message)
		}
	}()
	switch message.(type) {
	case *actor.SuspendMailbox:
		m.suspend(true)
	case *actor.ResumeMailbox:
		m.suspend(false)
	default:
		if isSystem {
			m.invoker.InvokeSystemMessage(message)
		} else {
			m.invoker.InvokeUserMessage(message)
		}
	}
}

func (m *mailbox) suspend(on bool) {
	m.mu.Lock()
	m.suspended = on
	m.mu.Unlock()
}
