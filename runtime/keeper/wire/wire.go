// Package wire defines what a daemon and its keeper say to each other, over one connection.
//
// The keeper listens at DBDIR/keeper/socket, a Unix socket that preserves messages
// (SOCK_SEQPACKET). Each message is one Request or one Answer in CBOR, of at most MaxFrame
// bytes. It may carry descriptors (SCM_RIGHTS); Files says what they are. A command line may
// be larger than a message, so it travels in a descriptor, too. Each side checks with
// SO_PEERCRED that the other is root or its own user.
//
// The daemon sends requests; the keeper answers each once, in any order. An Answer with the
// ID 0 answers nothing: it reports the end of a process, or trouble. The keeper reports each
// end to each daemon that says hello, until one has acknowledged it.
//
//	do       with                              answer            what the keeper does
//	hello    Protocol, Build, Read             Protocol, Build,  reports ends from now on; with Read, the
//	                                           Managed, Pass     daemon already reads all consoles
//	start    Name, Dirs; order, gate, status,  Process; pidfd    starts a process, which waits at its gate
//	         output, console, cgroup?,                           (package launcher); the daemon reads its console
//	         passed*
//	adopt    Name, Dirs, Process, Read;        Process; pidfd?   keeps a process that is not its child; with Read,
//	         console?                                            the daemon reads its console
//	list     After                             Kept, More        lists what it keeps, a part at a time
//	take     Process                           console           lets the daemon read the console
//	leave    Process                                             reads the console itself again
//	forget   Process                                             forgets an end that the daemon has recorded
//	upgrade  Program                           Protocol, Build,  executes another build, which continues and answers
//	                                           Pass
//
// A keeper understands hello and upgrade in every version of the protocol, and upgrade
// without a hello: the keys 1 to 4 and 7 of a Request, and 1 to 4 of an Answer, never change
// their meaning. It refuses a hello in another version, and changes nothing.
//
// Dirs are the directories of a cgroup that has the name of the unikernel, and then their
// parents. They show whether memory ran out when the process ended. If no daemon runs then,
// the keeper removes those that are empty.
//
// One connection at a time is the daemon's. When it ends, the keeper reads all consoles
// again, as soon as no daemon holds the claim: the lock on the file readers. A daemon claims
// the consoles before it reads one. The keeper takes the lock each time that it reads, unless
// a daemon is connected.
package wire

import (
	"cmp"
	"fmt"
	"strings"

	"albatross/messages"
	"albatross/runtime/seqpacket"
)

// Protocol is the version of the protocol.
const Protocol = 1

const (
	// MaxFrame bounds a message, in bytes.
	MaxFrame = 32 << 10
	// MaxPassed bounds the descriptors that a process gets: two for each of 63 devices.
	MaxPassed = 126
	// MaxOrder bounds a command line, in bytes. Linux executes none that is longer.
	MaxOrder = 4 << 20
	// MaxText bounds a text in a message, in bytes.
	MaxText = 4 << 10
	// PerList bounds the processes in one Answer.
	PerList = 64
)

// Taken is the exit code of a keeper that ends because another one runs.
const Taken = 3

// The files of a keeper.
const (
	Dir     = "keeper"  // below the database directory
	Socket  = "socket"  // where it listens
	Lock    = "lock"    // locked while it runs
	Readers = "readers" // locked while consoles are read; changed when a daemon locks it
	Journal = "journal" // what it keeps
	Crash   = "crash"   // its stack, if it has crashed
)

// A Verb says what to do.
type Verb string

const (
	Hello   Verb = "hello"
	Start   Verb = "start"
	Adopt   Verb = "adopt"
	List    Verb = "list"
	Take    Verb = "take"
	Leave   Verb = "leave"
	Forget  Verb = "forget"
	Upgrade Verb = "upgrade"
)

// A File says what a descriptor is.
type File string

const (
	Order   File = "order"   // a file: the command line, each argument terminated by a zero byte
	Gate    File = "gate"    // see package launcher
	Status  File = "status"  // see package launcher
	Output  File = "output"  // the standard output and error of the process
	Console File = "console" // the end of the same pipe to read from
	Cgroup  File = "cgroup"  // directory of the cgroup (version 2) to start in
	Passed  File = "passed"  // passed on to the process, in order, and not kept; there may be several
	Pidfd   File = "pidfd"
)

// A Request comes from the daemon.
type Request struct {
	ID       uint64           `cbor:"1,keyasint"` // not 0
	Do       Verb             `cbor:"2,keyasint"`
	Protocol int              `cbor:"3,keyasint,omitempty"`
	Build    string           `cbor:"4,keyasint,omitempty"`
	Name     string           `cbor:"5,keyasint,omitempty"` // of a unikernel
	Process  messages.Process `cbor:"6,keyasint,omitzero"`
	Program  string           `cbor:"7,keyasint,omitempty"` // a path
	After    messages.Process `cbor:"8,keyasint,omitzero"`  // the last process of the previous part
	Read     bool             `cbor:"9,keyasint,omitempty"`
	Files    []File           `cbor:"10,keyasint,omitempty"` // of the descriptors, in order
	Dirs     []string         `cbor:"11,keyasint,omitempty"`
}

// An Answer comes from the keeper. If the ID is 0, it reports the End of Process, or a trouble
// in Err.
type Answer struct {
	ID       uint64           `cbor:"1,keyasint"`
	Err      string           `cbor:"2,keyasint,omitempty"` // why the request has failed
	Protocol int              `cbor:"3,keyasint,omitempty"`
	Build    string           `cbor:"4,keyasint,omitempty"`
	Process  messages.Process `cbor:"5,keyasint,omitzero"`
	End      *End             `cbor:"6,keyasint,omitempty"`
	Kept     []Kept           `cbor:"7,keyasint,omitempty"`
	More     bool             `cbor:"8,keyasint,omitempty"` // another part follows
	Files    []File           `cbor:"9,keyasint,omitempty"`
	Name     string           `cbor:"10,keyasint,omitempty"` // of the unikernel that has ended
	Managed  bool             `cbor:"11,keyasint,omitempty"` // a service manager starts the keeper again when it ends
	Pass     bool             `cbor:"12,keyasint,omitempty"` // the keeper knows Passed; one that does not ignores it
}

// A Kept is a process that the keeper keeps, or whose end is not acknowledged.
type Kept struct {
	Name    string           `cbor:"1,keyasint"`
	Process messages.Process `cbor:"2,keyasint"`
	Child   bool             `cbor:"3,keyasint,omitempty"` // of the keeper, which will know its exit
	Read    bool             `cbor:"4,keyasint,omitempty"` // the daemon reads its console
	End     *End             `cbor:"5,keyasint,omitempty"` // nil: it runs
}

// An End says how a process has ended, and what it has used.
type End struct {
	Exit messages.Exit `cbor:"1,keyasint"`
	// One of these is set, in Unix time: when it ended, or, if no keeper saw that, when its
	// end was found.
	AtMillis    int64 `cbor:"2,keyasint,omitempty"`
	FoundMillis int64 `cbor:"3,keyasint,omitempty"`
	// See messages.Usage. All are zero if it was not a child of the keeper.
	UserMicros   int64 `cbor:"4,keyasint,omitempty"`
	SystemMicros int64 `cbor:"5,keyasint,omitempty"`
	MaxMemory    int64 `cbor:"6,keyasint,omitempty"`
}

var codec = seqpacket.NewCodec(MaxFrame, max(PerList, seqpacket.MaxFiles))

// Encode returns the bytes of a message.
func Encode(message any) ([]byte, error) { return codec.Encode(message) }

// Decode reads a message into a pointer to one. It ignores unknown fields: their sender
// speaks another Protocol.
func Decode(frame []byte, message any) error { return codec.Decode(frame, message) }

// Check refuses what no daemon sends.
func (r Request) Check() error {
	switch {
	case r.ID == 0:
		return fmt.Errorf("a request needs an ID")
	case len(r.Build) > MaxText, len(r.Program) > MaxText, len(r.Name) > MaxText, len(r.Do) > MaxText:
		return fmt.Errorf("a text of a request is too long")
	case len(r.Files) > seqpacket.MaxFiles:
		return fmt.Errorf("a request has too many descriptors")
	case len(strings.Join(r.Dirs, "")) > MaxText:
		return fmt.Errorf("the paths of a request are too long")
	}
	return nil
}

// Known returns when an end was seen or found, in Unix time.
func (e End) Known() int64 { return max(e.AtMillis, e.FoundMillis) }

// Usage returns what the process has used, if that is known.
func (e End) Usage() messages.Option[messages.Usage] {
	u := messages.Usage{UserMicros: e.UserMicros, SystemMicros: e.SystemMicros, MaxMemory: e.MaxMemory}
	return messages.Option[messages.Usage]{Value: u, OK: u != messages.Usage{}}
}

// Compare orders processes in lists.
func Compare(a, b messages.Process) int {
	return cmp.Or(cmp.Compare(a.BootID, b.BootID), cmp.Compare(a.StartTime, b.StartTime), cmp.Compare(a.PID, b.PID))
}
