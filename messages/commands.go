package messages

import "reflect"

// An Endpoint is one of the sockets of the daemon; each has its own commands. Its file
// has this name with .sock appended.
type Endpoint string

// The sockets.
const (
	AtVMMD    Endpoint = "vmmd"
	AtConsole Endpoint = "console"
	AtStats   Endpoint = "stat"
	AtControl Endpoint = "control" // not in native albatross
)

// A Properties holds the properties of a command, for code that passes it on, counts it or
// logs it without carrying it out.
type Properties struct {
	Command Command // a value of its type
	Word    string  // its name for people; if it changes something, that on the command line
	Metric  string  // its name in metrics, for all forms
	At      Endpoint
	Changes bool // it changes something that is recorded; else it is a question
	Remote  bool // the certificate of a client may contain it
	Session bool // a remote client may give it in a session, as all that a certificate may contain
	Named   bool // and it must then name something at a path, not the path
	Sends   Stream
	Answers Answers
	Keeps   Keeping
}

// A Stream is what the client sends after a command.
type Stream int

const (
	Nothing        Stream = iota
	Contents              // of a block device
	RemoteContents        // the same, from remote clients only, if the command contains none
	RemoteImage           // of a unikernel, likewise
)

// Answers are what the daemon sends.
type Answers int

const (
	One      Answers = iota // a single one
	Dump                    // one, and the contents of a block device
	Forever                 // one, and data until somebody leaves
	Commands                // one, and commands that the client must answer
)

// Keeping says whether another command may follow on the connection.
type Keeping int

const (
	Never  Keeping = iota
	IfDone         // if this one succeeds
	Always
)

// commands lists all commands, by socket. It is the only place for these properties.
var commands = []Properties{
	{Command: UnikernelInfo{}, Word: "info", Metric: "unikernel_info", At: AtVMMD, Remote: true},
	{Command: UnikernelCreate{}, Word: "create", Metric: "unikernel_create", At: AtVMMD, Changes: true, Remote: true, Sends: RemoteImage},
	{Command: UnikernelDestroy{}, Word: "destroy", Metric: "unikernel_destroy", At: AtVMMD, Changes: true, Remote: true},
	{Command: UnikernelRestart{}, Word: "restart", Metric: "unikernel_restart", At: AtVMMD, Changes: true, Remote: true},
	{Command: UnikernelGet{}, Word: "get", Metric: "unikernel_get", At: AtVMMD, Remote: true},

	{Command: PolicyInfo{}, Word: "policy", Metric: "policy_info", At: AtVMMD, Remote: true},
	{Command: PolicyAdd{}, Word: "add-policy", Metric: "policy_add", At: AtVMMD, Changes: true, Keeps: IfDone},
	{Command: PolicyRemove{}, Word: "remove-policy", Metric: "policy_remove", At: AtVMMD, Changes: true},

	{Command: BlockList{}, Word: "block", Metric: "block_list", At: AtVMMD, Remote: true},
	{Command: BlockAdd{}, Word: "create-block", Metric: "block_add", At: AtVMMD, Changes: true, Remote: true, Named: true},
	{Command: BlockOldAdd{}, Word: "create-block", Metric: "block_add", At: AtVMMD, Changes: true, Remote: true, Named: true},
	{Command: BlockRemove{}, Word: "destroy-block", Metric: "block_remove", At: AtVMMD, Changes: true, Remote: true, Named: true},
	{Command: BlockSet{}, Word: "set-block", Metric: "block_set", At: AtVMMD, Changes: true, Remote: true, Named: true, Sends: Contents},
	{Command: BlockOldSet{}, Word: "set-block", Metric: "block_set", At: AtVMMD, Changes: true, Remote: true, Named: true, Sends: RemoteContents},
	{Command: BlockDump{}, Word: "dump-block", Metric: "block_dump", At: AtVMMD, Remote: true, Named: true, Answers: Dump},
	{Command: BlockOldDump{}, Word: "dump-block", Metric: "block_dump", At: AtVMMD, Remote: true, Named: true},

	// From a native collector, which then receives its targets.
	{Command: StatsInitial{}, Word: "stats-initial", Metric: "stats_initial", At: AtVMMD, Answers: Commands},

	// Another daemon uses one connection for all its consoles.
	{Command: ConsoleAdd{}, Word: "console-add", Metric: "console_add", At: AtConsole, Keeps: Always},
	{Command: ConsoleSubscribe{}, Word: "console", Metric: "console_subscribe", At: AtConsole, Remote: true, Answers: Forever},
	{Command: ConsoleListInactive{}, Word: "console-inactive", Metric: "console_list_inactive", At: AtConsole, Remote: true},

	{Command: StatsAdd{}, Word: "stats-add", Metric: "stats_add", At: AtStats, Keeps: Always},
	{Command: StatsRemove{}, Word: "stats-remove", Metric: "stats_remove", At: AtStats, Keeps: Always},
	{Command: StatsSubscribe{}, Word: "stats", Metric: "stats_subscribe", At: AtStats, Remote: true, Answers: Forever, Keeps: Always},

	{Command: EndList{}, Word: "exits", Metric: "end_list", At: AtControl, Session: true},
	{Command: StatusList{}, Word: "status", Metric: "status_list", At: AtControl, Session: true},
	{Command: SettingList{}, Word: "settings", Metric: "setting_list", At: AtControl, Session: true},
	{Command: BlockReserve{}, Word: "reserve-block", Metric: "block_reserve", At: AtControl, Session: true, Changes: true},
	{Command: UnikernelDeploy{}, Word: "create", Metric: "unikernel_deploy", At: AtControl, Session: true, Changes: true},
	{Command: RestartDeploy{}, Word: "restart", Metric: "restart_deploy", At: AtControl, Session: true, Changes: true},
	{Command: PolicyDeploy{}, Word: "add-policy", Metric: "policy_deploy", At: AtControl, Changes: true},
	{Command: BlockDeploy{}, Word: "create-block", Metric: "block_deploy", At: AtControl, Session: true, Changes: true},
	{Command: OwnRequest{}, Word: "own", Metric: "own_request", At: AtControl, Session: true, Changes: true},
	{Command: OwnerList{}, Word: "owners", Metric: "owner_list", At: AtControl, Session: true},
	{Command: StopRequest{}, Word: "stop", Metric: "stop_request", At: AtControl, Session: true, Changes: true},
	{Command: StartRequest{}, Word: "start", Metric: "start_request", At: AtControl, Session: true, Changes: true},
	{Command: HistoryList{}, Word: "history", Metric: "history_list", At: AtControl, Session: true},
	{Command: RollbackRequest{}, Word: "rollback", Metric: "rollback_request", At: AtControl, Session: true, Changes: true},
	{Command: RenameRequest{}, Word: "rename", Metric: "rename_request", At: AtControl, Session: true, Changes: true},
	{Command: NetworkList{}, Word: "network", Metric: "network_list", At: AtControl, Session: true},
	{Command: NetworkCreate{}, Word: "network create", Metric: "network_create", At: AtControl, Session: true, Changes: true},
	{Command: NetworkRemove{}, Word: "network remove", Metric: "network_remove", At: AtControl, Session: true, Changes: true},
	{Command: PublishAdd{}, Word: "publish add", Metric: "publish_add", At: AtControl, Session: true, Changes: true},
	{Command: PublishRemove{}, Word: "publish remove", Metric: "publish_remove", At: AtControl, Session: true, Changes: true},
	{Command: EventsSubscribe{}, Word: "events", Metric: "events_subscribe", At: AtControl, Session: true, Answers: Forever},
}

var byType = func() map[reflect.Type]Properties {
	byType := map[reflect.Type]Properties{}
	for _, c := range commands {
		byType[reflect.TypeOf(c.Command)] = c
	}
	return byType
}()

// PropertiesOf returns the properties of a command. It knows all commands, but neither other
// payloads nor BadRequest.
func PropertiesOf(p Payload) (c Properties, known bool) {
	c, known = byType[reflect.TypeOf(p)]
	return c, known
}

// Verb returns the name, on the command line, of a command that changes something, and ""
// for others.
func Verb(command Payload) string {
	properties, _ := PropertiesOf(command)
	create, _ := command.(UnikernelCreate)
	switch {
	case !properties.Changes:
		return ""
	case create.Force:
		return properties.Word + " --force"
	}
	return properties.Word
}

// CommandCause returns the cause of the events of a command.
func CommandCause(command Command) Public {
	return Publicf("the command %s", Verb(command))
}

// AllProperties returns the properties of all commands.
func AllProperties() []Properties { return append([]Properties(nil), commands...) }
