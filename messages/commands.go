package messages

import "reflect"

// An Endpoint is one of the sockets of the daemon; each has its own commands. Its file
// has its name, and .sock behind it.
type Endpoint string

// The sockets.
const (
	AtVMMD    Endpoint = "vmmd"
	AtConsole Endpoint = "console"
	AtStats   Endpoint = "stat"
	AtEvents  Endpoint = "events" // other than native
)

// A Conduct is what a command is like, for whoever passes it on, counts it or notes it
// down without carrying it out.
type Conduct struct {
	Command Command // a value of its type
	Word    string  // what people call it; where it changes something, as on the command line
	Metric  string  // what Prometheus calls it, in whatever form it was said
	At      Endpoint
	Changes bool // something that is recorded; else it is a question
	Afar    bool // it may be in the certificate of a client
	Named   bool // and then has to be about something at a path, not about the path
	Sends   Stream
	Answers Answers
	Keeps   Keeping
}

// A Stream is what follows a command.
type Stream int

const (
	Nothing      Stream = iota
	Contents            // of a block device
	ContentsAfar        // the same, but from afar only, and where the command has none
	ImageAfar           // of a unikernel, likewise
)

// Answers are what comes back.
type Answers int

const (
	One      Answers = iota // a single one
	Dump                    // one, and the contents of a block device up to their end
	Forever                 // one, and data until somebody leaves
	Commands                // one, and commands that whoever has asked has to answer
)

// Keeping tells whether another command may follow on the connection.
type Keeping int

const (
	Never  Keeping = iota
	IfDone         // where this one succeeds
	Always
)

// commands are all that a client can say, by the sockets where it is said. This table
// is the only place that tells these things of a command.
var commands = []Conduct{
	{Command: UnikernelInfo{}, Word: "info", Metric: "unikernel_info", At: AtVMMD, Afar: true},
	{Command: UnikernelCreate{}, Word: "create", Metric: "unikernel_create", At: AtVMMD, Changes: true, Afar: true, Sends: ImageAfar},
	{Command: UnikernelDestroy{}, Word: "destroy", Metric: "unikernel_destroy", At: AtVMMD, Changes: true, Afar: true},
	{Command: UnikernelRestart{}, Word: "restart", Metric: "unikernel_restart", At: AtVMMD, Changes: true, Afar: true},
	{Command: UnikernelGet{}, Word: "get", Metric: "unikernel_get", At: AtVMMD, Afar: true},

	{Command: PolicyInfo{}, Word: "policy", Metric: "policy_info", At: AtVMMD, Afar: true},
	{Command: PolicyAdd{}, Word: "add-policy", Metric: "policy_add", At: AtVMMD, Changes: true, Keeps: IfDone},
	{Command: PolicyRemove{}, Word: "remove-policy", Metric: "policy_remove", At: AtVMMD, Changes: true},

	{Command: BlockList{}, Word: "block", Metric: "block_list", At: AtVMMD, Afar: true},
	{Command: BlockAdd{}, Word: "create-block", Metric: "block_add", At: AtVMMD, Changes: true, Afar: true, Named: true},
	{Command: BlockOldAdd{}, Word: "create-block", Metric: "block_add", At: AtVMMD, Changes: true, Afar: true, Named: true},
	{Command: BlockRemove{}, Word: "destroy-block", Metric: "block_remove", At: AtVMMD, Changes: true, Afar: true, Named: true},
	{Command: BlockSet{}, Word: "set-block", Metric: "block_set", At: AtVMMD, Changes: true, Afar: true, Named: true, Sends: Contents},
	{Command: BlockOldSet{}, Word: "set-block", Metric: "block_set", At: AtVMMD, Changes: true, Afar: true, Named: true, Sends: ContentsAfar},
	{Command: BlockDump{}, Word: "dump-block", Metric: "block_dump", At: AtVMMD, Afar: true, Named: true, Answers: Dump},
	{Command: BlockOldDump{}, Word: "dump-block", Metric: "block_dump", At: AtVMMD, Afar: true, Named: true},

	// A native collector that asks for what it is to measure.
	{Command: StatsInitial{}, Word: "stats-initial", Metric: "stats_initial", At: AtVMMD, Answers: Commands},

	// Another daemon has no other connection for all its consoles.
	{Command: ConsoleAdd{}, Word: "console-add", Metric: "console_add", At: AtConsole, Keeps: Always},
	{Command: ConsoleSubscribe{}, Word: "console", Metric: "console_subscribe", At: AtConsole, Afar: true, Answers: Forever},
	{Command: ConsoleListInactive{}, Word: "console-inactive", Metric: "console_list_inactive", At: AtConsole, Afar: true},

	{Command: StatsAdd{}, Word: "stats-add", Metric: "stats_add", At: AtStats, Keeps: Always},
	{Command: StatsRemove{}, Word: "stats-remove", Metric: "stats_remove", At: AtStats, Keeps: Always},
	{Command: StatsSubscribe{}, Word: "stats", Metric: "stats_subscribe", At: AtStats, Afar: true, Answers: Forever, Keeps: Always},

	{Command: EndList{}, Word: "exits", Metric: "end_list", At: AtEvents},
	{Command: SettingList{}, Word: "settings", Metric: "setting_list", At: AtEvents},
	{Command: BlockReserve{}, Word: "reserve-block", Metric: "block_reserve", At: AtEvents, Changes: true},
	{Command: EventsSubscribe{}, Word: "events", Metric: "events_subscribe", At: AtEvents, Answers: Forever},
}

var conducts = func() map[reflect.Type]Conduct {
	byType := map[reflect.Type]Conduct{}
	for _, c := range commands {
		byType[reflect.TypeOf(c.Command)] = c
	}
	return byType
}()

// ConductOf returns what a command is like. It knows all of them, but neither other
// payloads nor what stands for a request that could not be understood.
func ConductOf(p Payload) (c Conduct, known bool) {
	c, known = conducts[reflect.TypeOf(p)]
	return c, known
}

// Verb returns the name, on the command line, of a command that changes something. It
// returns nothing for the others.
func Verb(command Payload) string {
	conduct, _ := ConductOf(command)
	create, _ := command.(UnikernelCreate)
	switch {
	case !conduct.Changes:
		return ""
	case create.Force:
		return conduct.Word + " --force"
	}
	return conduct.Word
}

// CommandCause returns the cause of the events that a command leads to.
func CommandCause(command Command) Public {
	return Publicf("the command %s", Verb(command))
}

// Conducts returns those of all commands.
func Conducts() []Conduct { return append([]Conduct(nil), commands...) }
