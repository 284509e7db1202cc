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
	undoing         = "a change that failed is undone"
)

// happened is the change that tells what has happened now. It goes to disk with
// the change that it tells of, where there is one.
func happened(c *supervise.Context, kind messages.EventKind, name messages.Name, cause string) messages.Change {
	return messages.PutEvent{Event: messages.NewEvent(kind, name, c.Now(), cause)}
}

// commandCause is the cause of what a command does.
func commandCause(command messages.Command) string {
	text := ""
	switch m := command.(type) {
	case messages.UnikernelCreate:
		text = "create"
		if m.Force {
			text = "create --force"
		}
	case messages.UnikernelRestart:
		text = "restart"
	case messages.UnikernelDestroy:
		text = "destroy"
	case messages.PolicyAdd:
		text = "add-policy"
	case messages.PolicyRemove:
		text = "remove-policy"
	case messages.BlockAdd, messages.BlockOldAdd:
		text = "create-block"
	case messages.BlockSet, messages.BlockOldSet:
		text = "set-block"
	case messages.BlockRemove:
		text = "destroy-block"
	}
	return "the command " + text
}
