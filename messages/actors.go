package messages

import "time"

// What actors say to each other. A request carries an ID that its answer
// repeats: the asker may have been restarted, or have given up, meanwhile.

// Between a session and the host.
type (
	// Ask is a command of a client. The host, or the console that it passes a
	// subscription on to, answers with exactly one Answer.
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

// Between the host and a unikernel. Run tells the unikernels that one name has
// had apart.
type (
	// UnikernelPrepare has an image and its devices checked. Answered by
	// UnikernelPrepared or UnikernelFailed.
	UnikernelPrepare struct {
		Spec Spec // Spec.Digest is set where the image is in the store already
		// Image is the image where it is not.
		Image      []byte
		Compressed bool
		Cause      Public // of the start, for the event
		// Joins are the addresses that nobody else may have on their bridges.
		Joins []Station
	}
	// UnikernelStart follows UnikernelPrepared, or UnikernelWaiting where that was
	// held. Answered by UnikernelRunning or UnikernelFailed.
	UnikernelStart struct {
		Creates bool    // it is created by that, as far as events tell
		Former  *Former // what it replaces, whose spec is on disk; nil: nothing
	}
	// UnikernelResume takes over what a former daemon has recorded. Where it has
	// to be started, Hold has that wait for UnikernelStart: its answer is
	// UnikernelWaiting then, else UnikernelRunning or UnikernelGone.
	UnikernelResume struct {
		Record   Record
		Restarts int // where the record has no Runtime that tells
		Hold     bool
		Cause    Public // for the events
	}
	// UnikernelStop ends a unikernel. Answered by UnikernelGone.
	UnikernelStop struct {
		KeepSpec bool   // it is replaced: leave the spec on disk
		Cause    Public // for the events
	}

	// UnikernelRestarted says that the actor has failed and does not know what
	// it was about. The host answers with UnikernelRecover, or stops it.
	UnikernelRestarted struct {
		Name Name
		Run  uint64
	}
	// Abandon: it was being started for the first time; that is given up.
	UnikernelRecover struct {
		Abandon bool
		Former  *Former // see UnikernelStart
	}

	// UnikernelRevert says that a unikernel on trial could not be started, or has
	// refused, holds nothing any more, and is about to put back what it has
	// replaced. Answered by UnikernelReverted, unless it has been stopped.
	UnikernelRevert struct {
		Name   Name
		Run    uint64
		Former *Former
	}
	UnikernelReverted struct{ Err Public } // why that cannot be; empty: it can

	// UnikernelProven says that a unikernel is not on trial any more.
	UnikernelProven struct {
		Name Name
		Run  uint64
	}

	UnikernelPrepared struct {
		Name Name
		Run  uint64
		Spec Spec
	}
	// UnikernelRunning is said at each start, automatic ones included.
	UnikernelRunning struct {
		Name     Name
		Run      uint64
		Spec     Spec
		Started  time.Time
		Process  Process
		Ports    []Port
		Restarts int // how often it has been started again by now, by itself
	}
	// UnikernelWaiting says that it has ended, or could not be started, and will
	// be started again.
	UnikernelWaiting struct {
		Name Name
		Run  uint64
		End  Option[End] // absent: nothing has run
		// Cause is why, for people.
		Cause Public
	}
	// UnikernelUnstored says that it does not run any more, and that this cannot be
	// stored. That is tried again; UnikernelWaiting, UnikernelFailed or
	// UnikernelGone follow when it could be.
	UnikernelUnstored struct {
		Name Name
		Run  uint64
		Text Public // for the client
	}
	// UnikernelFailed says that it could not be started and holds nothing.
	UnikernelFailed struct {
		Name   Name
		Run    uint64
		Digest Digest // of its image, where it is in the store
		Text   Public // for the client; FailedStarting where it is lost by a bug of ours
	}
	// UnikernelGone says that it has ended and holds nothing.
	UnikernelGone struct {
		Name Name
		Run  uint64
		End  Option[End] // absent: nothing has run
		// Left is what is on disk under its name: itself where its spec was to be
		// kept and it had not ended before, or what it has put back. Nil: nothing.
		Left *Former
		Why  Public // what was put back comes back, where it was; for the event
	}
)

// FailedStarting is for a client whose command was lost by a bug of ours.
const FailedStarting = "internal error: the daemon failed while it started the unikernel; its log tells more"

// Between the host and the collector of statistics.
type (
	// StatsWatch says that a unikernel runs, also where it does so as before.
	StatsWatch struct{ Target Target }
	// StatsForget says that it has ended.
	StatsForget struct{ Name Name }
	// StatsRestarted says that the collector has failed and knows of nothing. The
	// host answers with a StatsWatch for each unikernel that runs.
	StatsRestarted struct{}
)

// Between a session, the host that passes it on, and the collector.
type (
	// StatsAsk is a command about statistics, sent in the name of the session. It
	// is answered by Answer, whose sender is the collector.
	StatsAsk struct {
		ID      uint64
		Name    Name
		Command Command
		Peer    Peer
	}
	// StatsMore is the credit of a subscriber: it wants the next StatsTaken.
	StatsMore struct{}
	// StatsTaken are all samples of one tick. Many sessions share them.
	StatsTaken struct{ Samples []Sample }
	// StatsTell has a session give a command to the native collector at its other
	// end, StatsTold says that this has been answered, and asks for the next one.
	StatsTell struct {
		Name    Name
		Command Command
	}
	StatsTold struct{}
	// StatsDetached says that there will be nothing more for a session.
	StatsDetached struct{}

	// StatsSnapshot asks for fresh samples of everything that is watched. It may
	// be sent to the host. Answered by StatsSnapshotTaken.
	StatsSnapshot      struct{ ID uint64 }
	StatsSnapshotTaken struct {
		ID      uint64
		Samples []Sample
		Err     string // why there are none
	}
)

// Between the host, a block actor and a session.
type (
	// BlockDo has a command about a block device carried out. It is sent in the
	// name of the session, which gets the Answer.
	BlockDo struct {
		ID      uint64
		Command Command
		Size    int // MB, of the device
	}
	// BlockDone tells the host that nothing is under way any more. It comes
	// before the Answer, unless a dump follows that, or the actor has failed.
	BlockDone struct {
		Name   Name
		Run    uint64
		Failed bool
	}
	// BlockMore is the credit of whoever gets a stream, and asks for one more
	// BlockChunk: the session, of a dump, or the block actor, of a set.
	BlockMore struct{}
	// BlockChunk is the next part of a stream. Data belongs to the receiver until
	// it sends BlockMore for it.
	BlockChunk struct {
		Data []byte
		Last bool   // nothing follows
		Err  Public // it breaks off here
	}
)

// StreamPart is the size of a BlockChunk, in bytes.
const StreamPart = 1 << 20

// StreamBuffers are what a sender of BlockChunks reads into. There are as many as there
// can be chunks that the receiver has not given back.
type StreamBuffers struct {
	both  [StreamWindow][]byte
	turns int
}

// StreamWindow is how many BlockChunks may be on their way at once: one is read or
// received while the other is being written.
const StreamWindow = 2

// Next returns the buffer that is free.
func (b *StreamBuffers) Next() []byte {
	turn := b.turns % StreamWindow
	b.turns++
	if b.both[turn] == nil {
		b.both[turn] = make([]byte, StreamPart)
	}
	return b.both[turn]
}

// Between a session, the events actor and the store.
type (
	// EventsAttach makes the sender, a session, a follower of the events of a
	// name. It is answered by Answer.
	EventsAttach struct {
		ID    uint64
		Name  Name
		Since Option[time.Time] // absent: only what is new
	}
	// EventsMore is the credit of a follower: it wants one more EventBatch.
	EventsMore struct{}
	// An EventBatch is what a follower gets next.
	EventBatch struct {
		Missed  uint64 // so many before these are not kept any more, of any name
		List    []NumberedEvent
		Present bool // what follows is new
	}
	// EventsDetached says that there will be no more events for a follower.
	EventsDetached struct{}
	// EventsStored says that events up to this number are stored.
	EventsStored struct{ Last uint64 }
)

// Between a surveyor and the host.
type (
	// StatusAsk asks how all unikernels are. Answered by StatusTold.
	StatusAsk  struct{}
	StatusTold struct{ List []Status }
)

// A Status tells how a unikernel is that runs, or waits to be started again.
type Status struct {
	Name     Name
	Running  bool         // not between two starts
	Wait     Option[Wait] // why not
	Started  time.Time    // last; zero: not yet
	Restarts int          // how often it has been started again, by itself
	End      Option[End]  // how the last run under this name has ended
	Blocks   []BlockInfo
}

// Between a halter and the host.
type (
	// HaltAll has all unikernels stopped, for the next daemon to start. Answered
	// by AllHalted.
	HaltAll   struct{}
	AllHalted struct{}
)

// To and from the store.
type (
	// StoreWrite has changes applied, all or none. Answered by StoreWritten
	// when they are on disk.
	StoreWrite struct {
		ID      uint64
		Changes []Change
	}
	StoreWritten struct {
		ID      uint64
		Err     Public
		Refused bool // that was known before anything was written
	}
	// StoreLoad is answered by StoreLoaded with all that is stored, or with what is of
	// one unikernel only: what is stored of others may be damaged.
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

// StoreFailed is the answer in place of one that the store has lost by a bug of ours.
const StoreFailed = "internal error: the store has failed; the log tells more"
