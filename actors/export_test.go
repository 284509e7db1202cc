package actors

import (
	"albatross/actors/host"

	"github.com/asynkron/protoactor-go/actor"
)

// Host is whom sessions ask.
func Host(a *Actors) *actor.PID { return a.host.PID() }

// MaxStarting is how many unikernels are started at once at most.
const MaxStarting = host.MaxStarting
