package unikernel

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"albatross/messages"
)

// How a unikernel has ended.
var (
	exit0       = outcome{exit: messages.Exit{Known: true}}
	exit1       = outcome{exit: messages.Exit{Known: true, Code: 1}}
	exit2       = outcome{exit: messages.Exit{Known: true, Code: 2}}
	exit64      = outcome{exit: messages.Exit{Known: true, Code: 64}}
	killed      = outcome{exit: messages.Exit{Known: true, Signal: 9}}
	unseen      = outcome{unseen: true}
	cutOff      = outcome{interrupted: "the machine was started anew", unseen: true}
	unstartable = outcome{failure: "no tap"}
)

func TestFate(t *testing.T) {
	quit := messages.Spec{Digest: messages.Digest{1}}
	restart := quit
	restart.Arguments.Fail = messages.FailBehaviour{Restart: true}
	named := quit
	named.Arguments.AddName = true
	refused := named
	refused.NameRefused = true
	checked := quit
	checked.Arguments.Health = messages.Some(messages.HealthCheck{Kind: messages.HealthTCP, Port: 1})
	onTrial := restart
	onTrial.Former = &messages.Former{Spec: messages.Spec{Digest: messages.Digest{2}}}

	none := messages.Option[messages.UnikernelStop]{}
	destroy := messages.Some(messages.UnikernelStop{Cause: "destroyed"})
	keep := messages.Some(messages.UnikernelStop{Cause: "daemon halts", KeepSpec: true})
	stay := messages.Some(messages.UnikernelStop{Cause: "stopped", Stay: true})
	former := &messages.Former{Spec: messages.Spec{Digest: messages.Digest{2}}, Restarts: 7}
	now := time.UnixMilli(1767323045678)
	stoppedFormer := &messages.Former{Spec: former.Spec.Stopped(now)}

	for name, tc := range map[string]struct {
		ending
		want fate
	}{
		"exits, and does not restart": {ending{spec: quit, outcome: exit2, eager: true},
			fate{kind: over, cause: "exit 2 asks for no restart"}},
		"exits, and restarts": {ending{spec: restart, outcome: exit2, eager: true},
			fate{kind: againLater, next: restart, cause: "exit 2 asks for a restart"}},
		"exits as a tender that refuses": {ending{spec: restart, outcome: exit1, eager: true},
			fate{kind: over, cause: "exit 1 asks for no restart"}},
		"is killed": {ending{spec: restart, outcome: killed, eager: true},
			fate{kind: over, cause: "signal 9 asks for no restart"}},
		"ends unseen, and does not restart": {ending{spec: quit, outcome: unseen, eager: true},
			fate{kind: over, cause: "exit unknown asks for no restart"}},
		"ends unseen, and restarts": {ending{spec: restart, outcome: unseen, eager: true},
			fate{kind: againLater, next: restart, cause: "exit unknown asks for a restart"}},
		"is cut off": {ending{spec: quit, outcome: cutOff, eager: true},
			fate{kind: againNow, next: quit, cause: "the machine was started anew"}},
		"is cut off on trial": {ending{spec: onTrial, outcome: cutOff, eager: true},
			fate{kind: againNow, next: onTrial, cause: "the machine was started anew"}},
		"refuses its name": {ending{spec: named, outcome: exit64, eager: true},
			fate{kind: againNow, next: refused, cause: "exit 64 refuses the argument --name"}},
		"refuses more than its name": {ending{spec: refused, outcome: exit64, eager: true},
			fate{kind: over, cause: "exit 64 asks for no restart"}},
		"ends on trial": {ending{spec: onTrial, outcome: exit0, eager: true},
			fate{kind: againLater, next: restart, cause: "exit 0 asks for a restart"}},

		"cannot be started": {ending{spec: quit, outcome: unstartable},
			fate{kind: over, cause: "it could not be started: no tap"}},
		"cannot be started again": {ending{spec: quit, outcome: unstartable, eager: true},
			fate{kind: againLater, next: quit, cause: "it could not be started: no tap"}},

		"cannot be started, and the one before comes back": {ending{spec: restart, outcome: unstartable, revertTo: former},
			fate{kind: reverted, left: former, cause: messages.SuccessorFailed + ": no tap"}},
		"refuses, and the one before comes back": {ending{spec: restart, outcome: exit1, eager: true, revertTo: former},
			fate{kind: reverted, left: former, cause: "what had replaced it refused to run: exit 1"}},
		"ends unseen, and the one before comes back": {ending{spec: restart, outcome: unseen, eager: true, revertTo: former},
			fate{kind: reverted, left: former, cause: "what had replaced it ended while no daemon saw it"}},
		"refuses, and the one before cannot come back": {ending{spec: restart, outcome: exit1, eager: true, revertRefusal: "no room"},
			fate{kind: over, cause: "exit 1 asks for no restart; the one before cannot come back: no room"}},

		"is unhealthy, and the one before comes back": {ending{spec: restart, outcome: killed, eager: true, unfit: "not healthy", revertTo: former},
			fate{kind: reverted, left: former, cause: "what had replaced it was not healthy"}},
		"is unhealthy, and the one before cannot come back": {ending{spec: quit, outcome: killed, eager: true, unfit: "not healthy", revertRefusal: "no room"},
			fate{kind: againNow, next: quit, cause: "it was not healthy; the one before cannot come back: no room"}},
		"ends before it is healthy": {ending{spec: checked, outcome: exit0, eager: true, revertTo: former},
			fate{kind: reverted, left: former, cause: "what had replaced it ended before it was healthy: exit 0"}},
		"is destroyed when it is being ended for its health": {ending{spec: onTrial, outcome: killed, eager: true, unfit: "not healthy", stop: destroy},
			fate{kind: over, cause: "destroyed"}},

		"is destroyed": {ending{spec: restart, outcome: killed, eager: true, stop: destroy},
			fate{kind: over, cause: "destroyed"}},
		"is destroyed when the one before would come back": {ending{spec: restart, outcome: exit1, eager: true, revertTo: former, stop: destroy},
			fate{kind: over, cause: "destroyed"}},
		"is destroyed before it was started": {ending{spec: quit, outcome: unstartable, stop: destroy},
			fate{kind: over, cause: "destroyed"}},
		"is stopped for the next daemon": {ending{spec: restart, outcome: killed, restarts: 3, eager: true, stop: keep},
			fate{kind: kept, left: &messages.Former{Spec: restart, Restarts: 3}, cause: "daemon halts"}},
		"is stopped for its successor, and nothing of it is on record": {ending{outcome: unstartable, stop: keep},
			fate{kind: over, cause: "daemon halts"}},
		"is stopped when the one before comes back": {ending{spec: restart, outcome: exit1, eager: true, revertTo: former, stop: keep},
			fate{kind: reverted, left: former, cause: "daemon halts"}},
		"is stopped": {ending{now: now, spec: restart, outcome: killed, eager: true, stop: stay},
			fate{kind: stays, next: restart.Stopped(now), cause: "stopped"}},
		"is stopped, and ends by itself": {ending{now: now, spec: quit, outcome: exit0, eager: true, stop: stay},
			fate{kind: stays, next: quit.Stopped(now), cause: "stopped"}},
		"is stopped on trial": {ending{now: now, spec: onTrial, outcome: killed, eager: true, stop: stay},
			fate{kind: stays, next: restart.Stopped(now), cause: "stopped"}},
		"is stopped when the one before would come back": {ending{now: now, spec: restart, outcome: exit1, eager: true, revertTo: former, stop: stay},
			fate{kind: stays, next: former.Spec.Stopped(now), cause: "stopped"}},
		"is stopped, and nothing of it is on record": {ending{outcome: unstartable, stop: stay},
			fate{kind: over, cause: "stopped"}},
		"refuses, and the one before stays stopped": {ending{spec: restart, outcome: exit1, eager: true, revertTo: stoppedFormer},
			fate{kind: reverted, left: stoppedFormer, cause: "what had replaced it refused to run: exit 1"}},
		"is not stopped": {ending{spec: quit, outcome: exit0, eager: true, stop: none},
			fate{kind: over, cause: "exit 0 asks for no restart"}},
	} {
		t.Run(name, func(t *testing.T) { require.Equal(t, tc.want, tc.ending.fate()) })
	}
}

func TestWhatFailsItsTrial(t *testing.T) {
	onTrial := messages.Spec{Former: &messages.Former{}}
	checked := onTrial
	checked.Arguments.Health = messages.Some(messages.HealthCheck{Kind: messages.HealthTCP, Port: 1})
	named := checked
	named.Arguments.AddName = true
	for name, tc := range map[string]struct {
		ending
		fails bool
	}{
		"cannot be started":         {ending{spec: onTrial, outcome: unstartable}, true},
		"refuses":                   {ending{spec: onTrial, outcome: exit1}, true},
		"ends unseen":               {ending{spec: onTrial, outcome: unseen}, true},
		"ends by itself":            {ending{spec: onTrial, outcome: exit2}, false},
		"is cut off":                {ending{spec: onTrial, outcome: cutOff}, false},
		"is unhealthy":              {ending{spec: checked, outcome: killed, unfit: "not healthy"}, true},
		"ends before it is healthy": {ending{spec: checked, outcome: exit0}, true},
		"is cut off when checked":   {ending{spec: checked, outcome: cutOff}, false},
		"refuses its name":          {ending{spec: named, outcome: exit64}, false},
		"is asked to end":           {ending{spec: onTrial, outcome: exit1, stop: messages.Some(messages.UnikernelStop{})}, false},
		"refuses, but replaced no":  {ending{outcome: exit1}, false},
	} {
		require.Equal(t, tc.fails, tc.ending.failsTrial(), name)
	}
}

// Who starts a unikernel is told that it cannot be; nobody is where it is started
// again, or was to end.
func TestWhatNeverRan(t *testing.T) {
	require.True(t, ending{outcome: unstartable}.neverRan())
	require.True(t, ending{outcome: unstartable, revertTo: &messages.Former{}}.neverRan())
	require.False(t, ending{outcome: unstartable, eager: true}.neverRan())
	require.False(t, ending{outcome: unstartable, stop: messages.Some(messages.UnikernelStop{})}.neverRan())
	require.False(t, ending{outcome: exit1}.neverRan())
}

// What the store and the events are told of each fate.
func TestWhatIsToldOfAFate(t *testing.T) {
	name, err := messages.ParseName("x")
	require.NoError(t, err)
	spec, former := messages.Spec{Digest: messages.Digest{1}}, &messages.Former{Spec: messages.Spec{Digest: messages.Digest{2}}}
	stops := messages.DeleteRuntime{Name: name}
	stopped, halted := spec.Stopped(time.UnixMilli(5)), []messages.EventKind{messages.EventStopped}
	restarting, destroyed := []messages.EventKind{messages.EventRestarting}, []messages.EventKind{messages.EventDestroyed}
	for _, tc := range []struct {
		fate    fate
		changes []messages.Change
		events  []messages.EventKind
	}{
		{fate{kind: over}, []messages.Change{messages.DeleteUnikernel{Name: name}}, destroyed},
		{fate{kind: kept, left: former}, []messages.Change{stops, messages.PutSpec{Name: name, Spec: former.Spec}}, nil},
		{fate{kind: stays, next: stopped}, []messages.Change{stops, messages.PutSpec{Name: name, Spec: stopped}}, halted},
		{fate{kind: reverted, left: former}, []messages.Change{stops, messages.PutSpec{Name: name, Spec: former.Spec}}, restarting},
		{fate{kind: reverted, left: &messages.Former{Spec: stopped}}, []messages.Change{stops, messages.PutSpec{Name: name, Spec: stopped}}, halted},
		{fate{kind: againNow, next: spec}, []messages.Change{stops, messages.PutSpec{Name: name, Spec: spec}}, restarting},
		{fate{kind: againLater, next: spec}, []messages.Change{stops, messages.PutSpec{Name: name, Spec: spec}}, restarting},
	} {
		require.Equal(t, tc.changes, tc.fate.changes(name), tc.fate.kind)
		require.Equal(t, tc.events, tc.fate.events(true), tc.fate.kind)
	}
	require.Empty(t, fate{kind: over}.events(false), "nobody has heard of it")
}

// A unikernel that is asked to end while its fate is being stored.
func TestAFateThatChangesWhileItIsStored(t *testing.T) {
	kinds := []fateKind{over, kept, stays, reverted, againNow, againLater}
	for _, was := range kinds {
		for _, now := range kinds {
			again := was != over && was != now
			require.Equal(t, again, fate{kind: was}.changesTo(fate{kind: now}), "%s, then %s", was, now)
		}
	}
}
