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
	// ConsoleAdopt has the console read the FIFO of what another daemon runs. It
	// is sent in the name of a session, which gets the Answer, or of nobody.
	ConsoleAdopt struct {
		ID     uint64
		Number uint64 // see ConsoleIdle
		Limit  int    // for ConsoleAdopted
	}
	// ConsoleAdopted tells the host that the FIFO is being read, and how many
	// consoles of other daemons its path may have. It comes before the Answer.
	ConsoleAdopted struct {
		Name  Name
		Limit int
	}
	// ConsoleEnded tells the host that the FIFO of another daemon has come to its
	// end, or cannot be read any more.
	ConsoleEnded struct{ Name Name }
	// ConsoleMore is the credit of a subscriber: it wants one more ConsoleLines.
	ConsoleMore struct{}
	// ConsoleLines are the next lines for a subscriber.
	ConsoleLines struct {
		Missed int // lines before these that the ring has lost meanwhile
		Lines  []ConsoleLine
	}
	// ConsoleLeave says that a subscriber wants the lines that there are now, and
	// then ConsoleDetached.
	ConsoleLeave struct{}
	// ConsoleDetached says that there will be no more lines for a subscriber, and why,
	// where the subscriber cannot know.
	ConsoleDetached struct{ Reason Public }
	// ConsoleLost says that the actor of the console has failed, and with which
	// line a subscriber has to go on: by ConsoleResume.
	ConsoleLost struct{ Next int }
	// ConsoleResume makes the sender a subscriber again. It is not answered.
	ConsoleResume struct{ Next int }

	// ConsoleIdle tells the host that nobody wants anything of a console. Heard is
	// the number of the last message that the host has sent or passed on: another
	// one may be under way.
	ConsoleIdle struct {
		Name  Name
		Heard uint64
	}
	// ConsoleProbe asks an actor that has heard of no number whether it is idle.
	ConsoleProbe struct{ Number uint64 }
)

// A ConsoleLine is a line that a unikernel has printed.
type ConsoleLine struct {
	Time time.Time
	Text string // any bytes but newline
}

// Between a unikernel and its console.
type (
	// ConsoleOpen has the console read its FIFO. Answered by ConsoleOpened.
	ConsoleOpen struct {
		ID     uint64
		Tender Option[Process] // whose output it is, where that runs already
	}
	// ConsoleRestarted says that the actor of the console has failed and reads
	// nothing. The host passes it on to the unikernel.
	ConsoleRestarted struct{ Name Name }
	// ConsoleOpened says that the FIFO is being read, or why not.
	ConsoleOpened struct {
		ID  uint64
		Err Public
	}
	// ConsoleClose has the console read what is left in the FIFO and let go of
	// it. Answered by ConsoleClosed.
	ConsoleClose  struct{ ID uint64 }
	ConsoleClosed struct{ ID uint64 }
)
