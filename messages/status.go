package messages

import "time"

// A UnikernelStatus is what a listing shows of a unikernel.
type UnikernelStatus struct {
	Name   Name
	State  UnikernelState
	Digest Digest
	// Arguments are without Argv, which may be secrets, and without Blocks. They are zero if it
	// has ended.
	Arguments Arguments
	Blocks    []BlockInfo // its block devices, with their sizes
	Stopped   time.Time   // since when it is stopped; zero: it is not
	Started   time.Time   // last; zero: not yet, or it has ended
	PID       int         // of its tender; 0: it does not run
	Restarts  int         // how often it has restarted by itself
	Wait      Option[Wait]
	End       Option[End] // of the last run under this name
	Health    Health      // of a run with a health check
	Owner     Owner
	Used      Option[Use] // absent: it does not run, or could not be measured
}

// A Use is what a running unikernel has used since its start, its tender included.
type Use struct {
	CPU    time.Duration // to the microsecond
	Memory int64         // bytes that it has now
}

// A UnikernelState is the state of a unikernel, in the word that is sent and shown.
type UnikernelState string

// The states.
const (
	StateStarting   UnikernelState = "starting"   // for the first time
	StateRunning    UnikernelState = "running"    // a tender runs it
	StateRestarting UnikernelState = "restarting" // it has ended, and is started again at a time that is known
	StateWaiting    UnikernelState = "waiting"    // it will be started, but not before something else has happened
	StateStopped    UnikernelState = "stopped"    // it runs again when somebody starts it
	StateEnded      UnikernelState = "ended"      // it is gone; only its console and its end are known
)
