package messages

import "time"

// A Timeval is a time, or a duration.
type Timeval struct {
	Seconds      int64
	Microseconds int
}

// Rusage is what a process has used, named as in getrusage(2).
type Rusage struct {
	UTime, STime                            Timeval
	MaxRSS, IxRSS, IdRSS, IsRSS             int64
	MinFlt, MajFlt, NSwap                   int64
	InBlock, OutBlock                       int64
	MsgSnd, MsgRcv, NSignals, NVCSw, NIvCSw int64
}

// KinfoMem is the memory of a process, named as FreeBSD's kinfo_proc.
type KinfoMem struct {
	VSize               int64 // bytes
	RSS                 int64 // pages
	TSize, DSize, SSize int64
	Runtime             int64 // microseconds
	Cow                 int
	Start               Timeval
}

// IfData are the counters of one network interface, named as FreeBSD's
// if_data. The first group travels as 32 bits.
type IfData struct {
	Device string // the unikernel's name for it

	Flags, SendLength, MaxSendLength, SendDrops, MTU uint32

	Baudrate                                int64
	InputPackets, InputErrors               int64
	OutputPackets, OutputErrors, Collisions int64
	InputBytes, OutputBytes                 int64
	InputMcast, OutputMcast                 int64
	InputDropped, OutputDropped             int64
}

// A Counter is one named counter of a virtual machine monitor.
type Counter struct {
	Name  string
	Value int64
}

// A Tap is a network interface of a running unikernel.
type Tap struct {
	Device string // the unikernel's name for it
	Tap    string // the host's
}

// A Port is a Tap that is identified beyond the reuse of its name.
type Port struct {
	Device string // the unikernel's name for it
	Link   Link   // the host's; without an index only its name is known
}

// A Target is what is measured under a name: a process of this boot, and taps.
type Target struct {
	Name    Name
	Process Process
	Started time.Time
	Ports   []Port
}

// A Sample is what a target has used since it was started.
type Sample struct {
	Name    Name
	Started time.Time
	Stats   DataStats
	IO      Option[BlockIO] // absent if it cannot be read
}

// BlockIO is what a process has read from and written to storage, in bytes.
type BlockIO struct{ Read, Written int64 }

// Between the host and the collector of statistics.
type (
	// StatsWatch says that a unikernel runs, or still runs.
	StatsWatch struct{ Target Target }
	// StatsForget says that it has ended.
	StatsForget struct{ Name Name }
	// StatsRestarted says that the collector has failed and has lost its targets. The
	// host answers with a StatsWatch for each unikernel that runs.
	StatsRestarted struct{}
)

// Between a session, the host that passes it on, and the collector.
type (
	// StatsAsk is a command about statistics, on behalf of a session. It is answered by
	// Answer, whose sender is the collector.
	StatsAsk struct {
		ID      uint64
		Name    Name
		Command Command
		Peer    Peer
	}
	// StatsTaken are all samples of one tick. Many sessions share them.
	StatsTaken struct{ Samples []Sample }
	// CollectorCommand asks a session to send a command to the native collector at its other
	// end. More says that the collector has answered, and asks for the next command.
	CollectorCommand struct {
		Name    Name
		Command Command
	}

	// StatsSnapshot asks for fresh samples. The host passes it on, or asks for itself.
	// Answered by StatsSnapshotTaken.
	StatsSnapshot struct {
		ID   uint64
		Only []Name // nil: all targets, and what they have read and written
	}
	StatsSnapshotTaken struct {
		ID      uint64
		Samples []Sample
		Err     string // why there are none
	}
)
