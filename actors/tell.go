package actors

import (
	"albatross/actors/supervise"
	"albatross/messages"
)

// Why something has happened, in the words of events. Those of commands are the
// words of the command line.
const (
	daemonStarts    = "the daemon started"
	recovering      = "the daemon recovers from an internal error"
	successorFailed = "what was to replace it could not be started"
	triedAgain      = "it could not be started before"
	undoing         = "a change that failed is undone"
)

// happened is the change that tells what has happened now. It goes to disk with
// the change that it tells of, where there is one.
func happened(c *supervise.Context, kind messages.EventKind, name messages.Name, cause string) messages.Change {
	return messages.PutEvent{Event: messages.NewEvent(kind, name, c.Now(), cause)}
}

// commandCause is the cause of what a command does.
func commandCause(command messages.Command) string { return "the command " + verb(command) }

// verb is what a command that changes something is called on the command line. It is
// empty for the others.
func verb(command messages.Payload) string {
	switch m := command.(type) {
	case messages.UnikernelCreate:
		if m.Force {
			return "create --force"
		}
		return "create"
	case messages.UnikernelRestart:
		return "restart"
	case messages.UnikernelDestroy:
		return "destroy"
	case messages.PolicyAdd:
		return "add-policy"
	case messages.PolicyRemove:
		return "remove-policy"
	case messages.BlockAdd, messages.BlockOldAdd:
		return "create-block"
	case messages.BlockSet, messages.BlockOldSet:
		return "set-block"
	case messages.BlockReserve:
		return "reserve-block"
	case messages.BlockRemove:
		return "destroy-block"
	}
	return ""
}
