package remote

import (
	"fmt"
	"strings"

	"albatross/messages"
)

// The sockets of the daemon.
const (
	vmmd    = "vmmd"
	console = "console"
	stat    = "stat"
)

// A conduct is what a command is like, for whoever passes it on.
type conduct struct {
	word     string // what people call it
	allowed  bool   // in the certificate of a client
	named    bool   // it is about something at a path, not about the path
	question bool   // it changes nothing
	socket   string // who carries it out
	sends    stream // what the client sends behind its certificate
	answers  answers
}

// A stream is what follows a command.
type stream int

const (
	nothing  stream = iota
	anImage         // which belongs into the command
	contents        // of a block device, which are passed on
)

// Answers are what comes back.
type answers int

const (
	one     answers = iota // a single one
	aDump                  // one, and contents of a block device up to their end
	forever                // one, and data until somebody leaves
)

// conductOf knows all commands.
func conductOf(command messages.Command) conduct {
	switch c := command.(type) {
	case messages.ConsoleSubscribe:
		return conduct{word: "console", allowed: true, question: true, socket: console, answers: forever}
	case messages.ConsoleListInactive:
		return conduct{word: "console-inactive", allowed: true, question: true, socket: console}
	case messages.StatsSubscribe:
		return conduct{word: "stats", allowed: true, question: true, socket: stat, answers: forever}

	case messages.UnikernelInfo:
		return conduct{word: "info", allowed: true, question: true, socket: vmmd}
	case messages.UnikernelCreate:
		return conductOfCreate(c)
	case messages.UnikernelDestroy:
		return conduct{word: "destroy", allowed: true, socket: vmmd}
	case messages.UnikernelRestart:
		return conduct{word: "restart", allowed: true, socket: vmmd}
	case messages.UnikernelGet:
		return conduct{word: "get", allowed: true, question: true, socket: vmmd}

	case messages.PolicyInfo:
		return conduct{word: "policy", allowed: true, question: true, socket: vmmd}

	case messages.BlockList:
		return conduct{word: "block", allowed: true, question: true, socket: vmmd}
	case messages.BlockAdd, messages.BlockOldAdd:
		return conduct{word: "create-block", allowed: true, named: true, socket: vmmd}
	case messages.BlockRemove:
		return conduct{word: "destroy-block", allowed: true, named: true, socket: vmmd}
	case messages.BlockSet:
		return conduct{word: "set-block", allowed: true, named: true, socket: vmmd, sends: contents}
	case messages.BlockOldSet:
		conduct := conduct{word: "set-block", allowed: true, named: true, socket: vmmd}
		if len(c.Data) == 0 { // as native takes it
			conduct.sends = contents
		}
		return conduct
	case messages.BlockDump:
		return conduct{word: "dump-block", allowed: true, named: true, question: true, socket: vmmd, answers: aDump}
	case messages.BlockOldDump:
		return conduct{word: "dump-block", allowed: true, named: true, question: true, socket: vmmd}
	}
	_, word, _ := strings.Cut(fmt.Sprintf("%T", command), ".")
	return conduct{word: word}
}

func conductOfCreate(c messages.UnikernelCreate) conduct {
	conduct := conduct{word: "create", allowed: true, socket: vmmd}
	if c.Force {
		conduct.word = "force-create"
	}
	if len(c.Config.Image) == 0 {
		conduct.sends = anImage
	}
	return conduct
}
