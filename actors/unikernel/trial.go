package unikernel

import (
	"errors"
	"time"

	"albatross/actors/supervise"
	"albatross/messages"
	"albatross/runtime/failpoint"
)

// exitRefused is the exit code of a tender that refuses.
const exitRefused = 1

// beginTrial begins or continues a trial. The record says so until the trial has ended, so that
// another daemon continues it.
func (u *unikernel) beginTrial(c *supervise.Context, since time.Time) {
	u.trialSince = since
	switch check := u.spec.Arguments.Health; {
	case u.asksHealth(): // its success ends the trial
	case check.OK && !u.runtime.Healthy:
		u.endTrialAfter(c, max(0, check.Value.Time()-c.Now().Sub(since)))
	case u.spec.Former != nil:
		u.endTrialAfter(c, max(0, u.Trial-c.Now().Sub(since)))
	}
}

func (u *unikernel) endTrialAfter(c *supervise.Context, d time.Duration) {
	if u.stopTrial != nil {
		u.stopTrial()
	}
	u.stopTrial = c.After(d, trialOver{})
}

// trialOver stores that a trial is over, and that the unikernel is healthy if its health was checked.
func (u *unikernel) trialOver(c *supervise.Context) {
	switch u.state {
	case running:
		failpoint.Here("unikernel/trial-over")
		u.proving = true
		u.spec.Former = nil
		changes := []messages.Change{messages.PutSpec{Name: u.Name, Spec: u.spec}}
		if u.spec.Arguments.Health.OK {
			u.runtime.Healthy = true
			changes = append(changes, messages.PutRuntime{Name: u.Name, Runtime: u.runtime},
				messages.Happened(c.Now(), messages.EventHealthy, u.Name, ""))
		}
		u.record(c, changes...)
	default: // it is over for another reason
	}
}

// proven tells the host that a trial is over: nothing on disk refers to the former any
// more.
func (u *unikernel) proven(c *supervise.Context, failure messages.Public) {
	if failure != "" {
		u.trouble.Note(c, "Cannot store that a unikernel has not refused to run", errors.New(string(failure)))
		u.endTrialAfter(c, supervise.RetryAfter)
		return
	}
	u.proving = false
	u.trouble.Over(c)
	failpoint.Here("unikernel/proven")
	c.Send(u.Host, messages.UnikernelProven{Name: u.Name, Run: u.Run})
	if u.runtime.Healthy {
		u.tellHealth(c, messages.Healthy, "")
	}
}

// revert asks the host, since another unikernel may now have what the former needs.
func (u *unikernel) revert(c *supervise.Context) {
	u.to(c, reverting)
	c.Send(u.Host, messages.UnikernelRevert{Name: u.Name, Run: u.Run, Former: u.spec.Former})
	failpoint.Here("unikernel/revert-asked")
}

func (u *unikernel) reverted(c *supervise.Context, m messages.UnikernelReverted) {
	switch u.state {
	case reverting:
		if m.Err == "" {
			u.revertTo = u.spec.Former
		}
		u.revertRefusal, u.spec.Former = m.Err, nil
		u.to(c, forgetting)
		u.forget(c)
	default: // it was stopped meanwhile
	}
}
