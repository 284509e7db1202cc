package actors

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"albatross/actors/supervise"
	"albatross/messages"
)

// kinds are those of the actors that live as long as what they stand for. Each may fail at any time.
var kinds = []string{"block", "console", "events", "host", "network", "session", "stats", "store", "unikernel"}

// Injectable returns the rule with which a fault can be injected into a running daemon, or why it
// cannot: there is no such actor, or the protocol between two actors does not allow it.
func Injectable(r supervise.Rule) (supervise.Rule, error) {
	if r.Kind != "" && !slices.Contains(kinds, r.Kind) {
		return r, fmt.Errorf("there is no actor %q: there are %s", r.Kind, strings.Join(kinds, ", "))
	}
	switch r.Fault {
	case supervise.CrashBefore, supervise.CrashAfter:
		if r.Kind == "" {
			return r, fmt.Errorf("%s needs an actor: %s", r.Fault, strings.Join(kinds, ", "))
		}
	case supervise.Duplicate:
		r.Messages = messages.MayComeAgain()
	case supervise.Drop:
		r.Messages = messages.MayBeDropped()
	case supervise.Delay, supervise.Reorder:
		if r.For <= 0 {
			return r, fmt.Errorf("%s needs a time", r.Fault)
		}
	}
	if r.Type != "" && len(r.Messages) > 0 {
		return r, mustBeOf(r)
	}
	return r, nil
}

// mustBeOf returns an error if none of the messages of a rule is of its type.
func mustBeOf(r supervise.Rule) error {
	var types []string
	for _, m := range r.Messages {
		types = append(types, reflect.TypeOf(m).String())
	}
	if !slices.Contains(types, r.Type) {
		return fmt.Errorf("%s of %s is not possible, but of %s", r.Fault, r.Type, strings.Join(types, ", "))
	}
	return nil
}
