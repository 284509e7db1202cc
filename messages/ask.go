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
		For     string // on whose behalf the peer says that it asks
		Memory  Memory
	}
	// Answer is a Success or a Failure.
	Answer struct {
		ID      uint64
		Payload Payload
	}
)

// Memory is what the connection of a client may use. All methods may be called
// concurrently.
type Memory interface {
	// Reserve waits until there is memory for a large answer: before that is made. The
	// connection frees it when it ends. The error is for the client.
	Reserve(bytes int64) error
}

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
