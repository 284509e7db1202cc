package actors

import "github.com/asynkron/protoactor-go/actor"

// Host is whom sessions ask.
func Host(a *Actors) *actor.PID { return a.host.PID() }
