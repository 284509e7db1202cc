package actors

import (
	"albatross/actors/supervise"
	"albatross/messages"
)

// Why something has happened, in the words of events. Those of commands are the
// words of the command line.
const (
	daemonStarts    messages.Public = "the daemon started"
	recovering      messages.Public = "the daemon recovers from an internal error"
	successorFailed                 = "what was to replace it could not be started"
	triedAgain                      = "it could not be started before"
	undoing                         = "a change that failed is undone"
)

// happened is the change that tells what has happened now. It goes to disk with
// the change that it tells of, where there is one.
func happened(c *supervise.Context, kind messages.EventKind, name messages.Name, cause messages.Public) messages.Change {
	return messages.PutEvent{Event: messages.NewEvent(kind, name, c.Now(), cause)}
}

// commandCause is the cause of what a command does.
func commandCause(command messages.Command) messages.Public {
	return messages.Publicf("the command %s", verb(command))
}

// verb is what a command that changes something is called on the command line. It is
// empty for the others.
func verb(command messages.Payload) string {
	conduct, _ := messages.ConductOf(command)
	create, _ := command.(messages.UnikernelCreate)
	switch {
	case !conduct.Changes:
		return ""
	case create.Force:
		return conduct.Word + " --force"
	}
	return conduct.Word
}
