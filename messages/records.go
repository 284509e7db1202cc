package messages

import (
	"encoding/hex"
	"fmt"
	"time"
)

// What is stored is CBOR with integer keys: a key, once used, keeps its
// meaning for ever, and a new field gets a new key.

// A Digest is the SHA-256 of an uncompressed image; it names the image in the
// image store.
type Digest [32]byte

// String returns the digest in hexadecimal, the name of the image's file.
func (d Digest) String() string { return hex.EncodeToString(d[:]) }

// A Spec is the desired state of one unikernel: what should run.
type Spec struct {
	Type      Type      `cbor:"1,keyasint"`
	Digest    Digest    `cbor:"2,keyasint"`
	Arguments Arguments `cbor:"3,keyasint"`
	// NameRefused: the unikernel exited with 64 or 124 when it was given its name as
	// an argument, so it is started without, whatever Arguments.AddName says.
	NameRefused bool `cbor:"4,keyasint,omitempty"`
	// Former is what this has replaced, as long as it is on trial: it comes back
	// where this cannot be started, or refuses.
	Former *Former `cbor:"5,keyasint,omitempty"`
}

// A Former is what has run under a name before. It has none of its own.
type Former struct {
	Spec     Spec `cbor:"1,keyasint"`
	Restarts int  `cbor:"2,keyasint,omitempty"` // see Runtime
}

// Proven returns the same, not on trial any more.
func (s Spec) Proven() Spec {
	s.Former = nil
	return s
}

// Named reports whether the unikernel gets its name as an argument.
func (s Spec) Named() bool { return s.Arguments.AddName && !s.NameRefused }

// A Process identifies a process beyond the reuse of its pid.
type Process struct {
	PID       int    `cbor:"1,keyasint"`
	StartTime uint64 `cbor:"2,keyasint"` // clock ticks since boot, /proc/PID/stat field 22
	BootID    string `cbor:"3,keyasint"` // /proc/sys/kernel/random/boot_id
}

// A Link identifies a network interface beyond the reuse of its name: the
// kernel gives out an index once, until the machine is started anew.
type Link struct {
	Name  string `cbor:"1,keyasint"`
	Index int    `cbor:"2,keyasint"`
}

// A Runtime is the observed state of one unikernel: the tender that runs it
// and what must be freed when that is gone. It is on disk before the tender
// executes its first instruction.
type Runtime struct {
	Process       Process `cbor:"1,keyasint"`
	StartedMillis int64   `cbor:"2,keyasint"` // Unix time
	// Released: it has certainly begun to execute. Until then it may be a
	// process that waits to become a tender, and ends when the daemon does.
	Released bool `cbor:"3,keyasint,omitempty"`
	// Taps are those that have been made for it, one per network.
	Taps []Link `cbor:"4,keyasint,omitempty"`
	// Restarts is how often it has been started again, by itself.
	Restarts int `cbor:"5,keyasint,omitempty"`
	// StartTold: the event that it was started is stored, that of its end is not.
	StartTold bool `cbor:"6,keyasint,omitempty"`
}

// Started returns when the tender was started, to the millisecond.
func (r Runtime) Started() time.Time { return time.UnixMilli(r.StartedMillis).UTC() }

// A Record is all that is stored about one unikernel.
type Record struct {
	Name    Name
	Spec    Spec
	Runtime Option[Runtime] // absent: no tender was running
}

// An End is how the last run of a unikernel ended. It outlives the unikernel.
type End struct {
	Exit     Exit  `cbor:"1,keyasint"`
	AtMillis int64 `cbor:"2,keyasint"`           // Unix time; 0: nobody saw it
	Restarts int   `cbor:"3,keyasint,omitempty"` // how often it had been started again by then
	// FoundMillis is when a daemon has found that it had ended, where nobody saw it.
	FoundMillis int64 `cbor:"4,keyasint,omitempty"`
}

// Known returns the time at which it is known to have ended: it may have been before.
func (e End) Known() time.Time { return time.UnixMilli(max(e.AtMillis, e.FoundMillis)).UTC() }

// A NamedEnd is an End and whose it is.
type NamedEnd struct {
	Name Name
	End  End          // zero where none is known
	Wait Option[Wait] // it will be started again
}

// A Wait tells that a unikernel does not run, and will be started again.
type Wait struct {
	Since time.Time // to the millisecond
	Cause Public    // for people
}

// NewWait tells that a unikernel waits. A cause that is too long is cut off.
func NewWait(since time.Time, cause Public) Wait {
	return Wait{since.UTC().Truncate(time.Millisecond), cutCause(cause)}
}

// NamedSettings are what a unikernel was created with that an Info does not tell.
type NamedSettings struct {
	Name        Name
	AddName     bool // as in Arguments
	NameRefused bool // as in Spec
}

// A State is all that is stored.
type State struct {
	Unikernels []Record
	Policies   []NamedPolicy
	Ends       []NamedEnd
	// Imported: nothing of native albatross is to be taken over any more.
	Imported bool
}

// A Change is one change of the stored state. Changes that are applied
// together are on disk together or not at all.
type Change interface{ change() }

type isChange struct{}

func (isChange) change() {}

// The changes of the stored state.
type (
	// PutSpec sets what should run under a name.
	PutSpec struct {
		isChange
		Name Name
		Spec Spec
	}
	// PutRuntime sets which tender runs it.
	PutRuntime struct {
		isChange
		Name    Name
		Runtime Runtime
	}
	// DeleteRuntime says that no tender runs it any more.
	DeleteRuntime struct {
		isChange
		Name Name
	}
	// DeleteUnikernel forgets a unikernel.
	DeleteUnikernel struct {
		isChange
		Name Name
	}
	// PutEnd says how its last run ended.
	PutEnd struct {
		isChange
		Name Name
		End  End
	}
	// DeleteEnd forgets how it ended.
	DeleteEnd struct {
		isChange
		Name Name
	}
	// PutPolicy puts a policy on a path.
	PutPolicy struct {
		isChange
		Path   Path
		Policy Policy
	}
	// DeletePolicy removes the policy of a path.
	DeletePolicy struct {
		isChange
		Path Path
	}
	// PutEvent tells of what other changes do, or of what has been done. Only the
	// newest events are kept.
	PutEvent struct {
		isChange
		Event Event
	}
	// MarkImported says that what native albatross had is stored, or never will
	// be.
	MarkImported struct{ isChange }
)

// An Exit is how a tender ended. The zero value is an end that nobody saw.
type Exit struct {
	Known  bool `cbor:"1,keyasint,omitempty"`
	Code   int  `cbor:"2,keyasint,omitempty"` // exit code, where Signal is 0
	Signal int  `cbor:"3,keyasint,omitempty"` // the signal that killed it
	// OutOfMemory: the kernel has sent that, because the unikernel needed more memory
	// than it may have, or the machine had none left.
	OutOfMemory bool `cbor:"4,keyasint,omitempty"`
}

// String tells the exit as listings and logs show it.
func (e Exit) String() string {
	switch {
	case !e.Known:
		return "exit unknown"
	case e.OutOfMemory:
		return "out of memory"
	case e.Signal != 0:
		return fmt.Sprintf("signal %d", e.Signal)
	}
	return fmt.Sprintf("exit %d", e.Code)
}
