package messages

import "time"

// The messages between actors. A request carries an ID that its answer repeats: the asker
// may have been restarted, or have given up, meanwhile.

// Between a session and the host.
type (
	// Ask is a command of a client. The host, or the actor to which it passes the command
	// on, sends exactly one Answer.
	Ask struct {
		ID      uint64
		Name    Name
		Command Command
		Peer    Peer
	}
	// Answer is a Success or a Failure.
	Answer struct {
		ID      uint64
		Payload Payload
	}
)

// Between the host and a unikernel. Run is the number of the unikernel actor, since a
// name has one after the other.
type (
	// UnikernelPrepare requests a check of an image and its devices. Answered by
	// UnikernelPrepared or UnikernelFailed.
	UnikernelPrepare struct {
		Spec Spec // with Spec.Digest, if the image is in the store already
		// Image is the image otherwise.
		Image      []byte
		Compressed bool
		Cause      Public // of the start, for the event
		// Joins are the addresses that must be unused on their bridges.
		Joins []Station
	}
	// UnikernelStart follows UnikernelPrepared, or a UnikernelWaiting with Hold. Answered
	// by UnikernelRunning or UnikernelFailed.
	UnikernelStart struct {
		Creates bool    // the event is EventCreated
		Former  *Former // what it replaces, whose spec is on disk; nil: nothing
	}
	// UnikernelResume takes over what a former daemon has recorded. If it must be
	// started, Hold delays that until UnikernelStart: then the answer is
	// UnikernelWaiting, else UnikernelRunning or UnikernelGone.
	UnikernelResume struct {
		Record   Record
		Restarts int // if the record has no Runtime
		Hold     bool
		Cause    Public // for the events
	}
	// UnikernelStop stops a unikernel. Answered by UnikernelGone.
	UnikernelStop struct {
		KeepSpec bool   // it is replaced: leave the spec on disk
		Cause    Public // for the events
	}

	// UnikernelRestarted says that the actor has failed and has lost its state. The host
	// answers with UnikernelRecover, or stops it.
	UnikernelRestarted struct {
		Name Name
		Run  uint64
	}
	// Abandon: it was being started for the first time, and is given up.
	UnikernelRecover struct {
		Abandon bool
		Former  *Former // see UnikernelStart
	}

	// UnikernelRevert says that the trial of a unikernel has failed, that it has freed
	// everything, and that it is about to start its former again. Answered by
	// UnikernelReverted, unless it was stopped.
	UnikernelRevert struct {
		Name   Name
		Run    uint64
		Former *Former
	}
	UnikernelReverted struct{ Err Public } // why it cannot; empty: it can

	// UnikernelProven says that the trial of a unikernel has succeeded.
	UnikernelProven struct {
		Name Name
		Run  uint64
	}

	UnikernelPrepared struct {
		Name Name
		Run  uint64
		Spec Spec
	}
	// UnikernelRunning is sent at each start, automatic ones included.
	UnikernelRunning struct {
		Name     Name
		Run      uint64
		Spec     Spec
		Started  time.Time
		Process  Process
		Ports    []Port
		Restarts int // how often it has restarted by itself
	}
	// UnikernelWaiting says that it has ended, or could not be started, and will be
	// started again.
	UnikernelWaiting struct {
		Name Name
		Run  uint64
		End  Option[End] // absent: nothing has run
		// Cause is the reason, for people.
		Cause Public
	}
	// UnikernelUnstored says that it does not run any more, and that this cannot be
	// stored. The actor retries; UnikernelWaiting, UnikernelFailed or UnikernelGone
	// follow when it succeeds.
	UnikernelUnstored struct {
		Name Name
		Run  uint64
		Text Public // for the client
	}
	// UnikernelFailed says that it could not be started and has freed everything.
	UnikernelFailed struct {
		Name   Name
		Run    uint64
		Digest Digest // of its image, if that is in the store
		Text   Public // for the client; FailedStarting after a bug of ours
	}
	// UnikernelGone says that it has ended and has freed everything.
	UnikernelGone struct {
		Name Name
		Run  uint64
		End  Option[End] // absent: nothing has run
		// Left is what is on disk under its name: its own spec if that was to be kept and
		// it had not ended before, or its former. Nil: nothing.
		Left *Former
		Why  Public // the cause of the former's restart, for the event
	}
)

// FailedStarting is for a client whose command was lost by a bug of ours.
const FailedStarting = "internal error: the daemon failed while it started the unikernel; its log tells more"

// Between the host and the collector of statistics.
type (
	// StatsWatch says that a unikernel runs, or still runs.
	StatsWatch struct{ Target Target }
	// StatsForget says that it has ended.
	StatsForget struct{ Name Name }
	// StatsRestarted says that the collector has failed and has lost its targets. The
	// host answers with a StatsWatch for each unikernel that runs.
	StatsRestarted struct{}
)

// Between a session, the host that passes it on, and the collector.
type (
	// StatsAsk is a command about statistics, on behalf of a session. It is answered by
	// Answer, whose sender is the collector.
	StatsAsk struct {
		ID      uint64
		Name    Name
		Command Command
		Peer    Peer
	}
	// StatsTaken are all samples of one tick. Many sessions share them.
	StatsTaken struct{ Samples []Sample }
	// CollectorCommand asks a session to send a command to the native collector at its other
	// end. More says that the collector has answered, and asks for the next command.
	CollectorCommand struct {
		Name    Name
		Command Command
	}

	// StatsSnapshot asks for fresh samples of all targets. The host passes it on.
	// Answered by StatsSnapshotTaken.
	StatsSnapshot      struct{ ID uint64 }
	StatsSnapshotTaken struct {
		ID      uint64
		Samples []Sample
		Err     string // why there are none
	}
)

// Between the host, a block actor and a session.
type (
	// BlockDo requests a command about a block device, on behalf of the session, which
	// gets the Answer.
	BlockDo struct {
		ID      uint64
		Command Command
		Size    int // MB, of the device
	}
	// BlockDone tells the host that the command has ended. It precedes the Answer, unless
	// a dump follows that, or the actor has failed.
	BlockDone struct {
		Name   Name
		Run    uint64
		Failed bool
	}
	// BlockChunk is the next part of a stream. Data belongs to the receiver until it
	// gives More for it.
	BlockChunk struct {
		Data []byte
		Last bool   // nothing follows
		Err  Public // the stream breaks off here
	}
)

// StreamPart is the size of a BlockChunk, in bytes.
const StreamPart = 1 << 20

// StreamBuffers are the buffers of a sender of BlockChunks: one for each chunk that the
// receiver may not have returned yet.
type StreamBuffers struct {
	both  [StreamWindow][]byte
	turns int
}

// StreamWindow is how many BlockChunks may be on their way: one is read or received while
// the other is written.
const StreamWindow = 2

// Next returns the free buffer.
func (s *StreamBuffers) Next() []byte {
	turn := s.turns % StreamWindow
	s.turns++
	if s.both[turn] == nil {
		s.both[turn] = make([]byte, StreamPart)
	}
	return s.both[turn]
}

// Between a session, the events actor and the store.
type (
	// EventsAttach makes the sender, a session, a subscriber to the events of a name. It
	// is answered by Answer.
	EventsAttach struct {
		ID    uint64
		Name  Name
		Since Option[time.Time] // absent: only new events
	}
	// An EventBatch holds the next events for a subscriber.
	EventBatch struct {
		Missed  uint64 // number of events before these, of any name, that were removed
		List    []NumberedEvent
		Present bool // what follows is new
	}
	// EventsStored says that events up to this number are stored.
	EventsStored struct{ Last uint64 }
)

// Between a surveyor and the host.
type (
	// StatusAsk asks for the status of all unikernels. Answered by StatusReport.
	StatusAsk    struct{}
	StatusReport struct{ List []Status }
)

// A Status describes a unikernel that runs, or waits to be started again.
type Status struct {
	Name     Name
	Running  bool         // not between two starts
	Wait     Option[Wait] // why not
	Started  time.Time    // last; zero: not yet
	Restarts int          // how often it has restarted by itself
	End      Option[End]  // of the last run under this name
	Blocks   []BlockInfo
}

// Between a halter and the host.
type (
	// HaltAll makes the host stop all unikernels, which the next daemon starts again.
	// Answered by AllHalted.
	HaltAll   struct{}
	AllHalted struct{}
)

// To and from the store.
type (
	// StoreWrite applies changes, all or none. Answered by StoreWritten when they are on
	// disk.
	StoreWrite struct {
		ID      uint64
		Changes []Change
	}
	StoreWritten struct {
		ID      uint64
		Err     Public
		Refused bool // before anything was written
	}
	// StoreLoad is answered by StoreLoaded with all records, or with those of one
	// unikernel: those of others may be damaged.
	StoreLoad struct {
		ID   uint64
		Only Option[Name]
	}
	StoreLoaded struct {
		ID    uint64
		State State
		Err   Public
	}
)

// StoreFailed replaces an answer that the store has lost by a bug of ours.
const StoreFailed = "internal error: the store has failed; the log tells more"
