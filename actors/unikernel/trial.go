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
	if u.spec.Former != nil {
		u.endTrialAfter(c, max(0, u.Trial-c.Now().Sub(since)))
	}
}

func (u *unikernel) endTrialAfter(c *supervise.Context, d time.Duration) {
	if u.stopTrial != nil {
		u.stopTrial()
	}
	u.stopTrial = c.After(d, trialOver{})
}

// trialOver stores that a trial is over.
func (u *unikernel) trialOver(c *supervise.Context) {
	switch u.state {
	case running:
		failpoint.Here("unikernel/trial-over")
		u.proving = true
		u.spec.Former = nil
		u.record(c, messages.PutSpec{Name: u.Name, Spec: u.spec})
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
