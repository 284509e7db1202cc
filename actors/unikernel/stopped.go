package unikernel

import (
	"albatross/actors/supervise"
	"albatross/messages"
	"albatross/runtime/failpoint"
)

// rest is the state of a unikernel that stays on record as stopped: nothing is left of it on the
// machine, except its image, which the host keeps. Whatever follows ends this actor, since a start
// makes a new run. It tells the host again if it is asked again to stop.
func (u *unikernel) rest(c *supervise.Context) {
	u.to(c, stopped)
	u.pin.release()
	u.runtime, u.outcome = messages.Runtime{}, outcome{}
	if u.stop.OK && !u.stop.Value.Stay { // it is destroyed, replaced or started
		u.close(c)
		return
	}
	u.stop = messages.Option[messages.UnikernelStop]{}
	c.Send(u.Host, messages.UnikernelStopped{Name: u.Name, Run: u.Run, Spec: u.spec, End: u.end})
	failpoint.Here("unikernel/stopped-told")
}
