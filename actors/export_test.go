package actors

import (
	"albatross/actors/host"

	"github.com/asynkron/protoactor-go/actor"
)

// Host returns the actor that sessions ask.
func Host(a *Actors) *actor.PID { return a.host.PID() }

// MaxStarting is how many unikernels are started at the same time at most.
const MaxStarting = host.MaxStarting
