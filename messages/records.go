package messages

import (
	"encoding/hex"
	"fmt"
	"time"
)

// Stored values are CBOR with integer keys: a key, once used, keeps its meaning for ever,
// and a new field gets a new key.

// A Digest is the SHA-256 of an uncompressed image, and its name in the image store.
type Digest [32]byte

// String returns the digest in hexadecimal, the name of the image's file.
func (d Digest) String() string { return hex.EncodeToString(d[:]) }

// A Spec is the desired state of one unikernel: what should run.
type Spec struct {
	Type      Type      `cbor:"1,keyasint"`
	Digest    Digest    `cbor:"2,keyasint"`
	Arguments Arguments `cbor:"3,keyasint"`
	// NameRefused: the unikernel exited with 64 or 124 with its name as an argument, so
	// it is started without, whatever Arguments.AddName says.
	NameRefused bool `cbor:"4,keyasint,omitempty"`
	// Former is what this has replaced, while it is on trial: if the trial fails, the
	// former is started again.
	Former *Former `cbor:"5,keyasint,omitempty"`
	// StoppedMillis is when somebody has stopped it, in Unix time: it does not run until it is
	// started. 0: it is to run.
	StoppedMillis int64 `cbor:"6,keyasint,omitempty"`
	// Past are its former versions, the last one first.
	Past []Past `cbor:"7,keyasint,omitempty"`
	// Owner stays with each replacement that names no other.
	Owner Owner `cbor:"8,keyasint,omitempty"`
	// By is who has asked for this version; absent: a daemon that did not note it.
	By Option[Asker] `cbor:"9,keyasint,omitzero"`
}

// A Former is what has run under a name before. It has no former itself.
type Former struct {
	Spec     Spec `cbor:"1,keyasint"`
	Restarts int  `cbor:"2,keyasint,omitempty"` // see Runtime
}

// Proven returns the same, not on trial any more.
func (s Spec) Proven() Spec {
	s.Former = nil
	return s
}

// Stopped returns the same as it is on record while it is stopped: not on trial any more.
func (s Spec) Stopped(at time.Time) Spec {
	s = s.Proven()
	s.StoppedMillis = at.UnixMilli()
	return s
}

// ToRun returns the same, as it is on record while it is to run: not on trial.
func (s Spec) ToRun() Spec {
	s = s.Proven()
	s.StoppedMillis = 0
	return s
}

// IsStopped reports whether it does not run until somebody starts it.
func (s Spec) IsStopped() bool { return s.StoppedMillis != 0 }

// Named reports whether the unikernel gets its name as an argument.
func (s Spec) Named() bool { return s.Arguments.AddName && !s.NameRefused }

// A Process identifies a process beyond the reuse of its pid.
type Process struct {
	PID       int    `cbor:"1,keyasint"`
	StartTime uint64 `cbor:"2,keyasint"` // clock ticks since boot, /proc/PID/stat field 22
	BootID    string `cbor:"3,keyasint"` // /proc/sys/kernel/random/boot_id
}

// A Link identifies a network interface beyond the reuse of its name: the kernel uses an
// index once per boot.
type Link struct {
	Name  string `cbor:"1,keyasint"`
	Index int    `cbor:"2,keyasint"`
}

// A Runtime is the observed state of one unikernel: its tender, and what must be freed
// when that has ended. It is on disk before the tender executes its first instruction.
type Runtime struct {
	Process       Process `cbor:"1,keyasint"`
	StartedMillis int64   `cbor:"2,keyasint"` // Unix time
	// Released: it has certainly begun to execute. Until then it may be waiting at its
	// gate, and ends when the daemon does.
	Released bool `cbor:"3,keyasint,omitempty"`
	// Taps are those that were made for it, one per network.
	Taps []Link `cbor:"4,keyasint,omitempty"`
	// Restarts is how often it has restarted by itself.
	Restarts int `cbor:"5,keyasint,omitempty"`
	// StartTold: the event of its start is stored, that of its end is not.
	StartTold bool `cbor:"6,keyasint,omitempty"`
	// Stopping: somebody is stopping it. Whatever its end is, it is stopped then.
	Stopping bool `cbor:"7,keyasint,omitempty"`
	// Healthy: its health check has succeeded.
	Healthy bool `cbor:"8,keyasint,omitempty"`
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
	Restarts int   `cbor:"3,keyasint,omitempty"` // how often it had restarted by then
	// FoundMillis is when a daemon found that it had ended, if nobody saw it.
	FoundMillis int64 `cbor:"4,keyasint,omitempty"`
	// Usage is absent if nobody knows it, or if an earlier daemon has stored this.
	Usage Option[Usage] `cbor:"5,keyasint,omitzero"`
}

// Known returns the first time at which it is known to have ended.
func (e End) Known() time.Time { return time.UnixMilli(max(e.AtMillis, e.FoundMillis)).UTC() }

// A NamedEnd is an End with the name of the unikernel.
type NamedEnd struct {
	Name Name
	End  End          // zero if unknown
	Wait Option[Wait] // it will be started again
	// StoppedMillis is since when it is stopped, in Unix time; 0: it is not.
	StoppedMillis int64
}

// A Wait says that a unikernel does not run, and will be started again.
type Wait struct {
	Since time.Time // to the millisecond
	Cause Public    // for people
	Until time.Time // when it is started, to the millisecond; zero: at once, or when the host says so
}

// NewWait returns a Wait without a time at which it ends. It truncates a long cause.
func NewWait(since time.Time, cause Public) Wait {
	return Wait{Since: since.UTC().Truncate(time.Millisecond), Cause: cutCause(cause)}
}

// NamedSettings are the settings of a unikernel that an Info lacks.
type NamedSettings struct {
	Name        Name
	AddName     bool // as in Arguments
	NameRefused bool // as in Spec
	// Networks are those of its devices that have an address of their own choice or a rate, with
	// nothing but that. Publish is as in Arguments.
	Networks []Network
	Publish  []Publication
	Health   Option[HealthCheck] // as in Arguments
	Origin   Option[Origin]      // as in Arguments
}

// A Block is what is stored about a block device: nothing, unless it has an owner. Its file is
// not in the database.
type Block struct {
	Owner Owner `cbor:"1,keyasint"`
}

// A State is all that is stored.
type State struct {
	Unikernels []Record
	Policies   []NamedPolicy
	Ends       []NamedEnd
	Networks   []NamedNetwork
	Blocks     map[Name]Block // those that are on record
	// Imported: nothing of native albatross is to be imported any more.
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
	// DeleteUnikernel removes a unikernel.
	DeleteUnikernel struct {
		isChange
		Name Name
	}
	// PutEnd sets how its last run ended.
	PutEnd struct {
		isChange
		Name Name
		End  End
	}
	// DeleteEnd removes how it ended.
	DeleteEnd struct {
		isChange
		Name Name
	}
	// PutPolicy sets the policy of a path.
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
	// PutNetwork sets a named network.
	PutNetwork struct {
		isChange
		Name Name
		Spec NetworkSpec
	}
	// DeleteNetwork removes a named network.
	DeleteNetwork struct {
		isChange
		Name Name
	}
	// PutBlock sets what is stored about a block device.
	PutBlock struct {
		isChange
		Name  Name
		Block Block
	}
	// DeleteBlock removes what is stored about a block device.
	DeleteBlock struct {
		isChange
		Name Name
	}
	// PutEvent reports other changes, or what was done. Only the newest events are kept.
	PutEvent struct {
		isChange
		Event Event
	}
	// MarkImported says that the state of native albatross is stored, or never will be.
	MarkImported struct{ isChange }
)

// An Exit is how a tender ended. The zero value is an unknown end.
type Exit struct {
	Known  bool `cbor:"1,keyasint,omitempty"`
	Code   int  `cbor:"2,keyasint,omitempty"` // exit code, where Signal is 0
	Signal int  `cbor:"3,keyasint,omitempty"` // the signal that killed it
	// OutOfMemory: the kernel has sent the signal, because the unikernel exceeded its
	// memory, or the machine had none left.
	OutOfMemory bool `cbor:"4,keyasint,omitempty"`
}

// String returns the exit as listings and logs show it.
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

// A Usage is what a process had used when it ended. Only its parent learns that.
type Usage struct {
	UserMicros   int64 `cbor:"1,keyasint,omitempty"` // CPU time outside of the kernel
	SystemMicros int64 `cbor:"2,keyasint,omitempty"` // and in the kernel
	MaxMemory    int64 `cbor:"3,keyasint,omitempty"` // the most memory it had at once, in KB; 0: unknown
}

// String returns the usage as listings and logs show it.
func (u Usage) String() string {
	text := fmt.Sprintf("user %.3f s system %.3f s", float64(u.UserMicros)/1e6, float64(u.SystemMicros)/1e6)
	if u.MaxMemory > 0 {
		text += fmt.Sprintf(" memory %.1f MB", float64(u.MaxMemory)/1024)
	}
	return text
}
