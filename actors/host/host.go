// Package host decides. The host owns the ledger of what may run, the runs under each
// name, and the consoles by name. It carries out every command, itself or through a
// child: a unikernel, a console, a block device, or the collector of statistics.
package host

import (
	"fmt"
	"sync"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"albatross/actors/console"
	"albatross/actors/ledger"
	"albatross/actors/meter"
	"albatross/actors/supervise"
	"albatross/messages"
	blockfile "albatross/runtime/block"
	"albatross/runtime/fair"
	"albatross/runtime/history"
	"albatross/runtime/machine"
)

// A Config is what the host is made with. It does not change once it is in use.
type Config struct {
	History    *history.Dir
	Console    func(console.Config) func() supervise.Actor // makes the console of a name: console.New
	Machine    Machine                                     // runs unikernels
	Blocks     *blockfile.Dir                              // the block devices
	Networks   Networks                                    // that have names; nil: none can be made
	RootPolicy messages.Policy                             // what the machine has at the start
	Measure    func() (messages.Policy, error)             // what it has now
	Watch      func() ([]*machine.Watch, error)            // opens what says that this has changed: machine.WatchAll
	Meter      *meter.Meter
	Work       *fair.Workers // long work with images

	Grace          time.Duration // between SIGTERM and SIGKILL
	Trial          time.Duration // of a replacement; see Trial
	MaxSubscribers int           // of one console
	Versions       int           // former ones of a unikernel that stay on record
	StatsInterval  time.Duration // between ticks
}

// Trial is how long a replacement must run. If it cannot be started, or its tender
// refuses it within that time, its former is started again.
const Trial = time.Second

// The host decides: it alone writes the ledger and knows what runs. It reserves a create
// in the ledger in one step, the unikernel actor does the slow work, and then the host
// commits or releases. All of its state is on disk or known to its children: after a
// failure it starts from there.
type host struct {
	config *Config
	store  *actor.PID
	began  messages.Public // cause of this incarnation's events
	stats  *actor.PID

	ledger   *ledger.Ledger
	slots    map[messages.Name]*slot
	consoles *consoles
	images   *demand                  // of current runs
	removals sync.WaitGroup           // of images, under way
	dropped  map[string]messages.Spec // of runs that were dropped, by their actors, until these have ended
	blocks   map[messages.Name]blockJob
	owners   blockOwners
	asking   map[ticket]statusAsk
	policies policyChanges
	renames  map[uint64]rename // by the IDs of their requests to the store
	networks networks
	hardware hardware
	open     map[ticket]supervise.Asker // unanswered commands
	tickets  ticket                     // last one used
	runs     uint64                     // last number used

	loading supervise.Trouble
	loadID  uint64 // of the pending request to the store; 0: none
	loads   int    // failed loads
	booted  bool
	early   []ask      // commands from before booted
	halter  *actor.PID // waits until all have stopped; nil: none
	waves   waves
}

// The messages of the host's own goroutines and timers.
type (
	swept struct {
		state   messages.State
		devices []blockfile.Device
		errs    []error
	}
	loadDue  struct{}
	waveOver struct{ number int }
)

// New returns the constructor of the host's incarnations. The first one is the start of a
// daemon.
func New(config *Config, store *actor.PID) func() supervise.Actor {
	began := messages.DaemonStarted
	return func() supervise.Actor {
		h := &host{config: config, store: store, began: began}
		began = messages.DaemonRecovers
		return h
	}
}

func (h *host) Started(c *supervise.Context) {
	h.ledger = ledger.New()
	h.ledger.HoldMachine(h.config.RootPolicy)
	h.slots = map[messages.Name]*slot{}
	h.images = &demand{specs: map[messages.Digest]int{}}
	h.dropped = map[string]messages.Spec{}
	h.blocks = map[messages.Name]blockJob{}
	h.owners = newBlockOwners()
	h.asking = map[ticket]statusAsk{}
	h.renames = map[uint64]rename{}
	h.networks.byBridge = map[string]*networkEntry{}
	h.open = map[ticket]supervise.Asker{}
	h.consoles = newConsoles(h.config, h.store)
	if h.began == messages.DaemonStarted {
		h.recordEvent(c, messages.EventDaemonStarted, messages.Name{}, "")
	}
	h.startStats(c)
	h.watchMachine(c)
	c.AfterFormer(loadDue{}) // what a failed incarnation still does must not meet what this one does
}

func (h *host) Handle(c *supervise.Context, message any) {
	switch m := message.(type) {
	case messages.Ask:
		h.asked(c, m)
	case messages.StoreLoaded:
		h.loaded(c, m)
	case swept:
		h.swept(c, m)
	case loadDue:
		h.load(c)
	case messages.UnikernelPrepared:
		h.prepared(c, m)
	case messages.UnikernelRunning:
		h.running(c, m)
		h.waveTold(c, m.Run, false)
	case messages.UnikernelWaiting:
		h.willRestart(c, m)
		h.waveTold(c, m.Run, true)
	case messages.UnikernelFailed:
		h.failed(c, m)
		h.waveTold(c, m.Run, false)
	case messages.UnikernelGone:
		h.gone(c, m)
		h.waveTold(c, m.Run, false)
	case messages.UnikernelStopped:
		h.stopped(c, m)
		h.waveTold(c, m.Run, false)
	case messages.UnikernelGoesOn:
		h.goesOn(c, m)
	case messages.UnikernelUnstored:
		h.unstored(c, m)
		h.waveGoesOn(c, m.Run)
	case messages.UnikernelPublished:
		h.published(c, m)
	case messages.UnikernelRevert:
		h.revert(c, m)
	case messages.UnikernelHealth:
		h.healthNoted(m)
	case messages.UnikernelProven:
		h.proven(c, m)
	case messages.UnikernelRestarted:
		h.restarted(c, m)
	case messages.ConsoleAdopted:
		h.consoles.adopted(c, m)
	case messages.ConsoleEnded:
		h.consoles.foreignGone(m.Name, c.Now())
	case messages.ConsoleRestarted:
		h.consoles.restarted(c, m.Name)
		if s := h.slots[m.Name]; s != nil && s.current != nil {
			c.Send(s.current.pid, m)
		}
	case messages.ConsoleIdle:
		if h.booted { // otherwise its user may be unknown; see ready
			h.consoles.idle(c, m)
		}
	case messages.StatsRestarted:
		h.watchAll(c)
	case messages.StatsSnapshot:
		c.RequestFor(c.Sender(), h.stats, m)
	case messages.StatsSnapshotTaken:
		h.statusMeasured(c, m)
	case imageRead:
		h.imageRead(c, m)
	case messages.StatusAsk:
		c.Respond(messages.StatusReport{List: h.status()})
	case messages.HaltAll:
		h.haltAsked(c)
	case messages.BlockDone:
		h.blockDone(c, m)
	case messages.StoreWritten:
		h.policyWritten(c, m)
		h.networkWritten(c, m)
		h.renameWritten(c, m)
		h.ownerWritten(c, m)
	case retryRename:
		h.recordRename(c, m.rename)
	case networkChosen:
		h.networkChosen(c, m)
	case messages.NetworkUp:
		h.networkUp(c, m)
	case messages.NetworkTrouble:
		h.networkTrouble(c, m)
	case messages.NetworkGone:
		h.networkGone(c, m)
	case networksLate:
		h.networksLate(c)
	case retryNetworkUndo:
		h.undoNetwork(c)
	case retryUndo:
		h.requestPolicy(c, h.policies.undo)
	case waveOver:
		h.waveOver(c, m)
	case watching:
		h.watching(c, m)
	case machineChanged:
		h.machineChanged(c, m)
	case awaitChange:
		h.awaitChange(c, m.watch)
	case measureDue:
		h.measure(c)
		c.After(measureEvery, measureDue{})
	case measured:
		h.measured(c, m)
	case supervise.Crashed:
		h.requestFailed(c, m.Message)
	case supervise.Undeliverable:
		h.requestFailed(c, m.Message)
	case supervise.Terminated:
		h.childEnded(c, m)
	default:
		c.Unknown(message)
	}
}

// Stopping answers everybody who waits. The unikernels go on.
func (h *host) Stopping(c *supervise.Context, _ bool) {
	closeWatches(h.hardware.watches)
	h.removals.Wait() // otherwise what was destroyed last keeps its image until the next start
	for t := range h.open {
		h.answer(c, t, messages.Failure{Text: "internal error: the daemon stopped while it handled this; ask what has become of it"})
	}
}

// requestFailed handles the failure of a request to a child, or that the child did not get
// it. If the request was under way, another answer with the same ID may follow.
func (h *host) requestFailed(c *supervise.Context, message any) {
	switch request := message.(type) {
	case messages.StoreLoad:
		h.loaded(c, messages.StoreLoaded{ID: request.ID, Err: messages.StoreFailed})
	case messages.StoreWrite:
		written := messages.StoreWritten{ID: request.ID, Err: messages.StoreFailed}
		h.policyWritten(c, written)
		h.networkWritten(c, written)
		h.renameWritten(c, written)
		h.ownerWritten(c, written)
	case messages.StatsSnapshot:
		h.statusMeasured(c, messages.StatsSnapshotTaken{ID: request.ID})
	case messages.NetworkDown:
		h.networkGone(c, messages.NetworkGone{ID: request.ID, Err: "internal error: the network's actor has failed; the log tells more"})
	default:
		c.Unknown(message)
	}
}

// asked accepts a command. From then on it is answered exactly once.
func (h *host) asked(c *supervise.Context, m messages.Ask) {
	switch command := m.Command.(type) {
	case messages.ConsoleSubscribe:
		h.subscribe(c, m, command)
		return
	case messages.StatsAdd, messages.StatsRemove, messages.StatsSubscribe, messages.StatsInitial:
		c.RequestFor(c.Sender(), h.stats, messages.StatsAsk{ID: m.ID, Name: m.Name, Command: m.Command, Peer: m.Peer})
		return
	}
	h.tickets++
	h.open[h.tickets] = supervise.Asker{PID: c.Sender(), ID: m.ID}
	a := ask{ticket: h.tickets, name: m.Name, command: m.Command, memory: m.Memory, by: messages.Asker{UID: m.Peer.UID, For: messages.CutFor(m.For)}}
	switch {
	case h.unreadable():
		h.answer(c, a.ticket, messages.Failure{Text: messages.Publicf("%s", h.loading.Cause())})
		return
	case !h.booted:
		h.early = append(h.early, a)
		return
	}
	h.do(c, a)
}

// recordEvent stores an event that reports no change of the database.
func (h *host) recordEvent(c *supervise.Context, kind messages.EventKind, name messages.Name, cause messages.Public) {
	c.Send(h.store, messages.StoreWrite{Changes: []messages.Change{messages.Happened(c.Now(), kind, name, cause)}})
}

func (h *host) answer(c *supervise.Context, t ticket, payload messages.Payload) {
	a, ok := h.open[t]
	if !ok {
		panic(fmt.Sprintf("internal error: ticket %d has been answered", t))
	}
	delete(h.open, t)
	a.Answer(c, payload)
}

// subscribe passes a subscription on to the console, which answers it.
func (h *host) subscribe(c *supervise.Context, m messages.Ask, subscribe messages.ConsoleSubscribe) {
	if m.Name.IsPath() {
		c.Respond(messages.Answer{ID: m.ID, Payload: messages.Failure{Text: "path used instead of name"}})
		return
	}
	console, number := h.consoles.forSubscriber(c, m.Name)
	c.RequestFor(c.Sender(), console, messages.ConsoleAttach{ID: m.ID, Number: number, Subscribe: subscribe})
}

// adopt passes a ConsoleAdd on to the console, which answers it.
func (h *host) adopt(c *supervise.Context, a ask, command messages.ConsoleAdd) {
	switch {
	case a.name.IsPath():
		h.answer(c, a.ticket, messages.Failure{Text: "path used instead of name"})
	case h.slots[a.name] != nil:
		h.answer(c, a.ticket, messages.Failure{Text: console.AdoptFailure(c, console.ErrOurs)})
	default:
		limit := command.Max.Or(h.ledger.MaxUnikernels(a.name.Path))
		h.consoles.adopt(c, a.name, limit, h.open[a.ticket])
		delete(h.open, a.ticket)
	}
}

// do carries out a command, or queues it behind the one under way for its name.
func (h *host) do(c *supervise.Context, a ask) {
	if h.halter != nil {
		h.answer(c, a.ticket, messages.Failure{Text: halting})
		return
	}
	switch command := a.command.(type) {
	case messages.UnikernelInfo:
		h.answer(c, a.ticket, messages.SuccessInfos{Form: command.Form, List: h.infos(a.name)})
	case messages.EndList:
		h.answer(c, a.ticket, messages.SuccessEnds{List: h.ends(a.name)})
	case messages.StatusList:
		h.listStatus(c, a)
	case messages.SettingList:
		h.answer(c, a.ticket, messages.SuccessSettings{List: h.settings(a.name)})
	case messages.ConsoleAdd:
		h.adopt(c, a, command)
	case messages.ConsoleListInactive:
		h.answer(c, a.ticket, h.inactive(a.name))
	case messages.PolicyInfo:
		h.answer(c, a.ticket, messages.SuccessPolicies{List: h.ledger.Policies(a.name)})
	case messages.PolicyAdd, messages.PolicyDeploy, messages.PolicyRemove:
		h.changePolicy(c, a)
	case messages.OwnerList:
		h.answer(c, a.ticket, messages.SuccessOwners{List: h.listOwners(a.name)})
	case messages.OwnRequest:
		h.own(c, a, command)
	case messages.BlockDeploy:
		h.deployBlock(c, a, command)
	case messages.HistoryList:
		h.answer(c, a.ticket, h.history(a.name))
	case messages.NetworkList:
		h.answer(c, a.ticket, messages.SuccessNetworks{List: h.listNetworks(a.name)})
	case messages.NetworkCreate, messages.NetworkRemove:
		h.changeNetwork(c, a)
	case messages.BlockList:
		h.answer(c, a.ticket, messages.SuccessBlocks{List: h.ledger.Blocks(a.name)})
	case messages.BlockAdd, messages.BlockOldAdd, messages.BlockRemove,
		messages.BlockSet, messages.BlockOldSet, messages.BlockDump, messages.BlockOldDump, messages.BlockReserve:
		h.block(c, a)
	case messages.UnikernelGet:
		h.get(c, a, command)
	case messages.UnikernelCreate, messages.UnikernelRestart, messages.UnikernelDestroy,
		messages.StopRequest, messages.StartRequest, messages.RenameRequest, messages.RollbackRequest, messages.PublishAdd, messages.PublishRemove:
		h.change(c, a)
	case messages.RestartDeploy:
		a.command, a.whole, a.keepArgv = command.Restart, true, command.KeepArgv
		h.change(c, a)
	case messages.UnikernelDeploy:
		a.command, a.whole, a.owner = command.Create, !command.Native, command.Owner
		h.change(c, a)
	default:
		h.answer(c, a.ticket, messages.Failure{Text: "unknown command"})
	}
}
