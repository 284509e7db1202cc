package messages

import "time"

// A Version is a version of the wire protocol.
type Version int

// The known versions. In Version3 and Version4 a name is a sequence of labels.
const (
	Version3 Version = 3
	Version4 Version = 4
	Version5 Version = 5

	CurrentVersion = Version5
)

// A Header begins every wire message. An answer repeats the header of its command.
type Header struct {
	Version  Version
	Sequence int64
	Name     Name
}

// A Peer is the process at the other end of a connection, as the kernel identifies it. It
// may have ended since.
type Peer struct {
	UID uint32
	PID int32
}

// A Wire is one message of the wire protocol, in either direction.
type Wire struct {
	Header  Header
	Payload Payload
	// For is on whose behalf the client of the control socket says that it asks, see Asker.
	For string
}

// Payload is the contents of a message: a Command, a Success, a Failure or a Data.
type Payload interface{ payload() }

// Command is a client's request. If the protocol has several forms of a command, a Form
// field keeps the one that was used, so that the answer can use a form that the client
// knows and the message can be encoded again byte for byte.
type Command interface {
	Payload
	command()
}

// Success is a positive answer.
type Success interface {
	Payload
	success()
}

// Failure is a negative answer: a text for people.
type Failure struct {
	isFailure
	Text Public
}

// Data belongs to a stream that follows an answer.
type Data interface {
	Payload
	data()
}

// Embedding one of these makes a type a payload of that kind; nothing outside of this
// package can.
type (
	isCommand struct{}
	isSuccess struct{}
	isFailure struct{}
	isData    struct{}
)

func (isCommand) payload() {}
func (isCommand) command() {}
func (isSuccess) payload() {}
func (isSuccess) success() {}
func (isFailure) payload() {}
func (isData) payload()    {}
func (isData) data()       {}

// Commands of the console socket.
type (
	// ConsoleAdd is sent by a native daemon: read the FIFO of this name.
	ConsoleAdd struct {
		isCommand
		Max Option[int] // consoles that the path may have; absent until 2.6.0
	}
	// ConsoleSubscribe asks for history and then every new line: either all
	// since a time, or the last Count lines. Exactly one is present.
	ConsoleSubscribe struct {
		isCommand
		Old   bool // lines use the old form too
		Since Option[time.Time]
		Count Option[int]
	}
	// ConsoleListInactive asks for the consoles of unikernels that are gone.
	ConsoleListInactive struct{ isCommand }
)

// Commands of the statistics socket, and of the connection between a native daemon and a
// native collector.
type (
	StatsAdd struct {
		isCommand
		VMMDev string
		PID    int
		Taps   []Tap
	}
	StatsRemove    struct{ isCommand }
	StatsSubscribe struct{ isCommand }
	StatsInitial   struct{ isCommand }
)

// Commands about unikernels.
type (
	// UnikernelInfo asks what runs; Form 1 to 6 is that of the answer.
	UnikernelInfo struct {
		isCommand
		Form int
	}
	// UnikernelCreate starts a unikernel; Force replaces one of that name.
	// Form 1 to 5 is that of the configuration.
	UnikernelCreate struct {
		isCommand
		Form   int
		Force  bool
		Config Config
	}
	UnikernelDestroy struct{ isCommand }
	// UnikernelRestart stops and starts a unikernel, with new arguments if they are
	// given.
	UnikernelRestart struct {
		isCommand
		Form RestartForm
		Args Option[Arguments] // present for the Args forms only
	}
	// UnikernelGet asks for the image. Form 1 is answered by a configuration and has no
	// level; form 2 has level 0; form 3 has a level.
	UnikernelGet struct {
		isCommand
		Form  int
		Level int // zlib compression wanted, 0 to 9: not checked by the decoder
	}
)

// RestartForm is the form of a restart.
type RestartForm int

// The forms of a restart, oldest first.
const (
	RestartOld   RestartForm = iota // command 12
	RestartSame                     // command 14, same arguments
	RestartArgs0                    // one CPU, no startup, no addName
	RestartArgs1                    // one CPU
	RestartArgs2                    // several CPUs
)

// Commands about policies.
type (
	PolicyInfo struct{ isCommand }
	PolicyAdd  struct {
		isCommand
		Policy Policy
	}
	PolicyRemove struct{ isCommand }
)

// Commands about block devices. Sizes are in MB.
type (
	BlockList struct{ isCommand }
	BlockAdd  struct {
		isCommand
		Size int
	}
	BlockRemove struct{ isCommand }
	BlockOldAdd struct {
		isCommand
		Size       int
		Compressed bool
		Data       Option[[]byte]
	}
	BlockOldSet struct {
		isCommand
		Compressed bool
		Data       []byte
	}
	BlockOldDump struct {
		isCommand
		Level int
	}
	BlockDump struct {
		isCommand
		Level int
	}
	BlockSet struct { // the contents follow as a stream
		isCommand
		Compressed bool
	}
)

// Positive answers.
type (
	SuccessEmpty struct{ isSuccess }
	SuccessText  struct {
		isSuccess
		Text Public
	}
	SuccessPolicies struct {
		isSuccess
		List []NamedPolicy
	}
	// SuccessConfigs answers info form 1 (images empty) and get form 1.
	SuccessConfigs struct {
		isSuccess
		List []NamedConfig
	}
	SuccessBlocks struct {
		isSuccess
		List []NamedBlock
	}
	// SuccessInfos answers info in Form 2 to 6.
	SuccessInfos struct {
		isSuccess
		Form int
		List []NamedInfo
	}
	SuccessImage struct {
		isSuccess
		Compressed bool
		Image      []byte
	}
	// SuccessOldBlock answers BlockOldDump.
	SuccessOldBlock struct {
		isSuccess
		Compressed bool
		Data       []byte
	}
	// SuccessDump answers BlockDump: the contents follow as DataBlock.
	SuccessDump struct {
		isSuccess
		Compressed bool
	}
	SuccessConsoles struct {
		isSuccess
		List []Name
	}
)

// Streams.
type (
	DataConsole struct {
		isData
		Old  bool
		Time time.Time // to the millisecond
		Line string    // any bytes but newline
	}
	// DataLines are several DataConsole with the same header, for who sends them.
	DataLines struct {
		isData
		Old   bool
		Lines []ConsoleLine
	}
	DataStats struct {
		isData
		Rusage   Rusage
		IfData   []IfData
		VMM      Option[[]Counter]
		KinfoMem Option[KinfoMem]
	}
	// DataBlock is a chunk of a block dump; absent: its end.
	DataBlock struct {
		isData
		Chunk Option[[]byte]
	}
)

// Not part of the native protocol: the messages of the control socket. Package wire
// knows none of these.
type (
	// EndList asks how the last runs of unikernels ended.
	EndList struct{ isCommand }
	// SuccessEnds answers EndList.
	SuccessEnds struct {
		isSuccess
		List []NamedEnd
	}
	// StatusList asks for the status of unikernels, also of those that do not run.
	StatusList struct{ isCommand }
	// SuccessStatuses answers StatusList.
	SuccessStatuses struct {
		isSuccess
		List []UnikernelStatus
	}
	// SettingList asks for the settings of unikernels that UnikernelInfo lacks.
	SettingList struct{ isCommand }
	// SuccessSettings answers SettingList.
	SuccessSettings struct {
		isSuccess
		List []NamedSettings
	}
	// BlockReserve reserves room on the disk for all of a block device.
	BlockReserve struct{ isCommand }
	// UnikernelDeploy is UnikernelCreate with what native albatross has no word for: ports that
	// are published, addresses on named networks, and the owner.
	UnikernelDeploy struct {
		isCommand
		Create UnikernelCreate
		Owner  Owner // empty: it keeps the one that it has
		// Native: somebody has asked for it in a native message, which an endpoint passes on: what such a
		// message has no word for stays as it is.
		Native bool
	}
	// RestartDeploy is UnikernelRestart with all arguments, also those that native albatross has no
	// word for.
	RestartDeploy struct {
		isCommand
		Restart  UnikernelRestart // with Args
		KeepArgv bool             // except for Argv, which stays as it is
	}
	// PolicyDeploy is PolicyAdd with the owner in the policy; empty: it keeps the one that it has.
	PolicyDeploy struct {
		isCommand
		Policy Policy
	}
	// BlockDeploy is BlockAdd with an owner.
	BlockDeploy struct {
		isCommand
		Size  int // MB
		Owner Owner
	}
	// OwnRequest gives something that exists, and has no owner, one.
	OwnRequest struct {
		isCommand
		Kind  Kind
		Owner Owner
	}
	// OwnerList asks for all that has an owner, at and below a path.
	OwnerList struct{ isCommand }
	// SuccessOwners answers OwnerList.
	SuccessOwners struct {
		isSuccess
		List []Owned
	}
	// StopRequest stops a unikernel, which stays on record and keeps all that was promised to it,
	// and StartRequest starts it again.
	StopRequest  struct{ isCommand }
	StartRequest struct{ isCommand }
	// HistoryList asks for the former versions of a unikernel. Answered by SuccessHistory.
	HistoryList    struct{ isCommand }
	SuccessHistory struct {
		isSuccess
		Now  Option[FormerVersion] // absent from daemons that do not tell it
		List []FormerVersion
	}
	// RollbackRequest replaces a unikernel by a former version.
	RollbackRequest struct {
		isCommand
		Number int // in the list, from 1
	}
	// RenameRequest gives a stopped unikernel another name.
	RenameRequest struct {
		isCommand
		To Name
	}
	// NetworkList asks for the named networks at and below a path.
	NetworkList struct{ isCommand }
	// SuccessNetworks answers NetworkList.
	SuccessNetworks struct {
		isSuccess
		List []NetworkStatus
	}
	// NetworkCreate makes a named network.
	NetworkCreate struct {
		isCommand
		Asked NetworkAsk
	}
	// NetworkRemove removes a named network that nothing uses.
	NetworkRemove struct{ isCommand }
	// PublishAdd publishes another port of a unikernel, and PublishRemove ends that.
	PublishAdd struct {
		isCommand
		Publication Publication
	}
	PublishRemove struct {
		isCommand
		Publication Publication
	}
	// EventsSubscribe asks for the events since a time, and then every new one. Without a
	// time it asks for new ones only.
	EventsSubscribe struct {
		isCommand
		Since Option[time.Time]
	}
	// SuccessEvents answers EventsSubscribe: a stream follows, of all below.
	SuccessEvents struct{ isSuccess }
	DataEvent     struct {
		isData
		NumberedEvent
	}
	// DataMissed stands for events that were removed.
	DataMissed struct {
		isData
		Count uint64
	}
	// DataPresent follows the events from before the request: what follows is new.
	DataPresent struct{ isData }
	// BadRequest stands for a request that could not be decoded. It is answered by a
	// Failure with the reason.
	BadRequest struct {
		isCommand
		Why Public
	}
)
