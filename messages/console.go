package messages

import "time"

// Between the host, a session and a console.
type (
	// ConsoleAttach makes the sender, a session, a subscriber. It is answered
	// by Answer, whose sender is the console.
	ConsoleAttach struct {
		ID        uint64
		Number    uint64 // see ConsoleIdle
		Subscribe ConsoleSubscribe
	}
	// ConsoleAdopt makes the console read the FIFO of another daemon's unikernel. It is
	// sent on behalf of a session, which gets the Answer, or of nobody.
	ConsoleAdopt struct {
		ID     uint64
		Number uint64 // see ConsoleIdle
		Limit  int    // for ConsoleAdopted
	}
	// ConsoleAdopted reports to the host that the FIFO is being read, and how many consoles of
	// other daemons its path may have. It precedes the Answer.
	ConsoleAdopted struct {
		Name  Name
		Limit int
	}
	// ConsoleEnded reports to the host that the FIFO of another daemon has ended, or cannot be
	// read any more.
	ConsoleEnded struct{ Name Name }
	// ConsoleLines are the next lines for a subscriber.
	ConsoleLines struct {
		Missed int // lines before these that are not kept any more
		Lines  []ConsoleLine
	}
	// ConsoleLeave asks for the existing lines only, and then Detached.
	ConsoleLeave struct{}
	// ConsoleLost says that the actor of the console has failed, and from which line a
	// subscriber should resume by ConsoleResume.
	ConsoleLost struct{ Next int }
	// ConsoleResume makes the sender a subscriber again. It is not answered.
	ConsoleResume struct{ Next int }

	// ConsoleIdle reports to the host that a console has no users. Heard is the number of the
	// last message that the host has sent or passed on: a later one may be under way.
	ConsoleIdle struct {
		Name  Name
		Heard uint64
	}
	// ConsoleProbe asks a restarted actor, which has seen no number, whether it is idle.
	ConsoleProbe struct{ Number uint64 }
)

// A ConsoleLine is a line that a unikernel has printed.
type ConsoleLine struct {
	Time time.Time
	Text string // any bytes but newline
}

// Between a unikernel and its console.
type (
	// ConsoleOpen makes the console read its FIFO. Answered by ConsoleOpened.
	ConsoleOpen struct {
		ID     uint64
		Tender Option[Process] // the running tender, if the FIFO is its output already
	}
	// ConsoleRestarted says that the actor of the console has failed and reads nothing.
	// The host passes it on to the unikernel.
	ConsoleRestarted struct{ Name Name }
	// ConsoleOpened says that the FIFO is being read, or why not.
	ConsoleOpened struct {
		ID  uint64
		Err Public
	}
	// ConsoleClose makes the console read the rest of the FIFO and close it. Answered by
	// ConsoleClosed.
	ConsoleClose  struct{ ID uint64 }
	ConsoleClosed struct{ ID uint64 }
)
