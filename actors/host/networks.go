package host

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	networkactor "albatross/actors/network"
	"albatross/actors/supervise"
	"albatross/messages"
	"albatross/runtime/failpoint"
	"albatross/runtime/network"
)

// Networks are the named networks of the machine. network.Networks is one.
type Networks interface {
	networkactor.Networks
	// Sweep removes networks that are on no record. The errors are for the log.
	Sweep(ctx context.Context, recorded []messages.NamedNetwork) []error
	// Choose completes what a client asks of a network beside others, whose subnets are taken.
	Choose(name messages.Name, asked messages.NetworkAsk, taken []netip.Prefix) (messages.NetworkSpec, error)
}

// networksPatience bounds how long the start of unikernels waits for networks.
const networksPatience = 10 * time.Second

// networks are made and removed one at a time: each is checked against the result of the one
// before.
type networks struct {
	byBridge map[string]*networkEntry
	now      messages.Option[networkChange]
	waiting  []ask
	undoing  supervise.Trouble

	// Boot: the records that wait until all networks have reported.
	awaited map[string]bool
	records []messages.Record
}

// A networkEntry is the actor of a network.
type networkEntry struct {
	pid     *actor.PID
	trouble messages.Public // why it cannot be used
}

// A networkChange is the command under way.
type networkChange struct {
	ask
	phase   networkPhase
	request uint64 // ID of the pending request to the store or to the actor
	network messages.NamedNetwork
	bridge  string
	refusal messages.Public // for the answer, once what was made is removed
	undo    []messages.Change
}

// A networkPhase is what the command under way waits for.
type networkPhase string

const (
	choosing  networkPhase = "choosing"  // what the client has left open
	recording networkPhase = "recording" // the network that is to be made
	making    networkPhase = "making"
	removing  networkPhase = "removing"  // also one that could not be made
	erasing   networkPhase = "erasing"   // the record
	owning    networkPhase = "owning"    // its owner is being recorded
	reversing networkPhase = "reversing" // a change of the record that failed is being undone, and was answered
)

// The host's messages from its own goroutines and timers about networks.
type (
	networkChosen struct {
		ticket ticket
		spec   messages.NetworkSpec
		err    error
	}
	networksLate     struct{}
	retryNetworkUndo struct{}
)

// changeNetwork begins a change, or queues it behind the one under way.
func (h *host) changeNetwork(c *supervise.Context, a ask) {
	if h.networks.now.OK {
		h.networks.waiting = append(h.networks.waiting, a)
		return
	}
	bridge, err := messages.BridgeOf(a.name)
	if err != nil {
		h.answer(c, a.ticket, messages.Failure{Text: c.Public(err)})
		return
	}
	change := networkChange{ask: a, bridge: bridge}
	switch command := a.command.(type) {
	case messages.NetworkCreate:
		h.createNetwork(c, change, command.Asked)
	case messages.NetworkRemove:
		h.removeNetwork(c, change)
	case messages.OwnRequest:
		h.ownNetwork(c, change)
	}
}

// ownNetwork gives a network an owner.
func (h *host) ownNetwork(c *supervise.Context, change networkChange) {
	n, exists := h.ledger.Network(change.bridge)
	err := fmt.Errorf("cannot give %s an owner: there is no such network", change.name)
	if exists && n.Name == change.name {
		err = mayOwn(messages.KindNetwork, change.name, n.Spec.Owner, change.owner)
	}
	if err != nil {
		h.answer(c, change.ticket, messages.Failure{Text: c.Public(err)})
		return
	}
	n.Spec.Owner = change.owner
	change.phase, change.request = owning, c.NewID()
	h.networks.now = messages.Some(change)
	c.Request(h.store, messages.StoreWrite{ID: change.request, Changes: []messages.Change{messages.PutNetwork{Name: n.Name, Spec: n.Spec}}})
}

// networkOwned ends that.
func (h *host) networkOwned(c *supervise.Context, m messages.StoreWritten) {
	change := &h.networks.now.Value
	if m.Err == "" {
		h.ledger.OwnNetwork(change.bridge, change.owner)
		h.endNetworkChange(c, messages.SuccessText{Text: "owner set"})
		return
	}
	n, _ := h.ledger.Network(change.bridge)
	h.networkUnstored(c, m, messages.PutNetwork{Name: n.Name, Spec: n.Spec})
}

// networkUnstored answers that a change of the record has failed. The change may be on disk all the
// same, and would be valid for the next daemon: unless the store has refused it, it is undone before
// another one begins.
func (h *host) networkUnstored(c *supervise.Context, m messages.StoreWritten, undo ...messages.Change) {
	change := &h.networks.now.Value
	h.answer(c, change.ticket, messages.Failure{Text: m.Err})
	if m.Refused {
		h.nextNetworkChange(c)
		return
	}
	change.phase, change.undo = reversing, undo
	h.undoNetwork(c)
}

func (h *host) undoNetwork(c *supervise.Context) {
	change := &h.networks.now.Value
	change.request = c.NewID()
	c.Request(h.store, messages.StoreWrite{ID: change.request, Changes: change.undo})
}

// networkUndone continues when a change was undone, or tries that again.
func (h *host) networkUndone(c *supervise.Context, m messages.StoreWritten) {
	if m.Err != "" {
		h.networks.undoing.Note(c, "Cannot undo the change of a network", errors.New(string(m.Err)))
		c.After(supervise.RetryAfter, retryNetworkUndo{})
		return
	}
	h.networks.undoing.Over(c)
	h.nextNetworkChange(c)
}

func (h *host) createNetwork(c *supervise.Context, change networkChange, asked messages.NetworkAsk) {
	if h.config.Networks == nil {
		h.answer(c, change.ticket, messages.Failure{Text: "cannot make a network: albatross-network is not installed beside the daemon"})
		return
	}
	if n, exists := h.ledger.Network(change.bridge); exists && n.Name == change.name {
		h.answer(c, change.ticket, messages.Failure{Text: messages.Publicf("cannot make network %s: it exists", change.name)})
		return
	}
	if err := asked.Owner.Check(); err != nil {
		h.answer(c, change.ticket, messages.Failure{Text: c.Public(err)})
		return
	}
	var taken []netip.Prefix
	for _, n := range h.ledger.Networks(messages.Name{}) {
		taken = append(taken, n.Spec.Subnet())
	}
	change.phase = choosing
	h.networks.now = messages.Some(change)
	config, name, ticket := h.config, change.name, change.ticket
	c.Go(func(context.Context) any {
		spec, err := config.Networks.Choose(name, asked, taken)
		return networkChosen{ticket, spec, err}
	})
}

// networkChosen records the network, before anything of it is made.
func (h *host) networkChosen(c *supervise.Context, m networkChosen) {
	change := &h.networks.now.Value
	if !h.networks.now.OK || change.ticket != m.ticket {
		return
	}
	change.network = messages.NamedNetwork{Name: change.name, Spec: m.spec}
	change.network.Spec.Owner = change.command.(messages.NetworkCreate).Asked.Owner
	err := m.err
	if err == nil {
		err = h.ledger.CheckNetwork(change.network)
	}
	if err != nil {
		h.endNetworkChange(c, messages.Failure{Text: c.Public(err)})
		return
	}
	failpoint.Here("networks/chosen")
	h.recordNetwork(c, recording, messages.PutNetwork{Name: change.name, Spec: change.network.Spec}, messages.EventNetworkCreated)
}

// recordNetwork stores one change of the networks on record.
func (h *host) recordNetwork(c *supervise.Context, phase networkPhase, stored messages.Change, kind messages.EventKind) {
	change := &h.networks.now.Value
	change.phase, change.request = phase, c.NewID()
	event := messages.Happened(c.Now(), kind, change.name, messages.CommandCause(change.command))
	c.Request(h.store, messages.StoreWrite{ID: change.request, Changes: []messages.Change{stored, event}})
}

// networkWritten continues when the record has changed.
func (h *host) networkWritten(c *supervise.Context, m messages.StoreWritten) {
	change := &h.networks.now.Value
	if m.ID == 0 || !h.networks.now.OK || m.ID != change.request {
		return
	}
	change.request = 0
	switch change.phase {
	case recording:
		h.networkRecorded(c, m)
	case erasing:
		h.networkErased(c, m)
	case owning:
		h.networkOwned(c, m)
	case reversing:
		h.networkUndone(c, m)
	}
}

func (h *host) networkRecorded(c *supervise.Context, m messages.StoreWritten) {
	change := &h.networks.now.Value
	if m.Err != "" {
		h.networkUnstored(c, m, messages.DeleteNetwork{Name: change.name},
			messages.Happened(c.Now(), messages.EventNetworkRemoved, change.name, undoing))
		return
	}
	failpoint.Here("networks/recorded")
	change.phase = making
	h.ledger.HoldNetwork(change.network)
	h.spawnNetwork(c, change.network, nil)
}

// spawnNetwork makes the actor of a network.
func (h *host) spawnNetwork(c *supervise.Context, n messages.NamedNetwork, running []network.Station) {
	bridge, err := messages.BridgeOf(n.Name)
	if err != nil || h.config.Networks == nil {
		c.Log().Error("A network cannot be used", "network", n.Name, "error", err)
		return
	}
	pid := c.Child("network/"+n.Name.String(), networkactor.New(networkactor.Config{
		Network: n, Stations: running, Host: c.Self(), Networks: h.config.Networks,
	}))
	h.networks.byBridge[bridge] = &networkEntry{pid: pid}
}

// networkUp notes that a network can be used.
func (h *host) networkUp(c *supervise.Context, m messages.NetworkUp) {
	bridge, _ := messages.BridgeOf(m.Name)
	if e := h.networks.byBridge[bridge]; e != nil {
		e.trouble = ""
	}
	if change := &h.networks.now.Value; h.networks.now.OK && change.name == m.Name && change.phase == making {
		failpoint.Here("networks/made")
		h.endNetworkChange(c, messages.SuccessText{Text: "created network"})
	}
	h.networkReported(c, bridge)
}

// repairNetworks repairs networks whose bridge somebody has removed.
func (h *host) repairNetworks(c *supervise.Context, has messages.Policy) {
	for bridge, e := range h.networks.byBridge {
		n, _ := h.ledger.Network(bridge)
		missing := n.Spec.Backend == messages.KernelNetwork && !slices.Contains(has.Bridges, bridge)
		if change := h.networks.now; missing && !(change.OK && change.Value.bridge == bridge) {
			c.Log().Warn("The bridge of a network is missing and is made again", "network", n.Name)
			c.Send(e.pid, messages.NetworkRepair{})
		}
	}
}

// networkTrouble notes that a network cannot be used. One that is just being made is removed.
func (h *host) networkTrouble(c *supervise.Context, m messages.NetworkTrouble) {
	bridge, _ := messages.BridgeOf(m.Name)
	if e := h.networks.byBridge[bridge]; e != nil {
		e.trouble = m.Text
	}
	if change := &h.networks.now.Value; h.networks.now.OK && change.name == m.Name && change.phase == making {
		change.refusal = m.Text
		h.takeDown(c)
	}
	h.networkReported(c, bridge)
}

func (h *host) removeNetwork(c *supervise.Context, change networkChange) {
	n, exists := h.ledger.Network(change.bridge)
	if !exists || n.Name != change.name {
		h.answer(c, change.ticket, messages.Failure{Text: messages.Publicf("cannot remove network %s: there is none", change.name)})
		return
	}
	if users := h.ledger.UsersOf(change.bridge); len(users) > 0 {
		h.answer(c, change.ticket, messages.Failure{Text: messages.Publicf("cannot remove network %s: %s: destroy them first", change.name, inUse(users))})
		return
	}
	change.network = n
	h.networks.now = messages.Some(change)
	h.ledger.CloseNetwork(change.bridge, true)
	h.takeDown(c)
}

// maxUsers bounds how many names an answer has.
const maxUsers = 5

func inUse(users []messages.Name) string {
	var names []string
	for _, u := range users[:min(len(users), maxUsers)] {
		names = append(names, u.String())
	}
	text := strings.Join(names, ", ")
	if more := len(users) - maxUsers; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	if len(users) == 1 {
		return text + " uses it"
	}
	return text + " use it"
}

// takeDown removes the network of the command under way from the machine.
func (h *host) takeDown(c *supervise.Context) {
	change := &h.networks.now.Value
	change.phase, change.request = removing, c.NewID()
	e := h.networks.byBridge[change.bridge]
	if e == nil { // it has no actor
		h.networkGone(c, messages.NetworkGone{ID: change.request, Name: change.name})
		return
	}
	c.Request(e.pid, messages.NetworkDown{ID: change.request})
}

// networkGone erases the record of a network of which nothing is left.
func (h *host) networkGone(c *supervise.Context, m messages.NetworkGone) {
	change := &h.networks.now.Value
	if !h.networks.now.OK || m.ID != change.request {
		return
	}
	if m.Err != "" {
		h.ledger.CloseNetwork(change.bridge, false)
		text := m.Err
		if change.refusal != "" {
			text = change.refusal + "; and it cannot be removed: " + m.Err
		}
		h.endNetworkChange(c, messages.Failure{Text: text})
		return
	}
	failpoint.Here("networks/down")
	if e := h.networks.byBridge[change.bridge]; e != nil {
		c.Stop(e.pid)
		delete(h.networks.byBridge, change.bridge)
	}
	h.recordNetwork(c, erasing, messages.DeleteNetwork{Name: change.name}, messages.EventNetworkRemoved)
}

// networkErased ends a removal. A network that stays on record is made again.
func (h *host) networkErased(c *supervise.Context, m messages.StoreWritten) {
	change := &h.networks.now.Value
	switch {
	case m.Err != "":
		h.ledger.CloseNetwork(change.bridge, false)
		h.spawnNetwork(c, change.network, nil)
		h.networkUnstored(c, m, messages.PutNetwork{Name: change.name, Spec: change.network.Spec},
			messages.Happened(c.Now(), messages.EventNetworkCreated, change.name, undoing))
	case change.refusal != "":
		h.ledger.DropNetwork(change.bridge)
		h.endNetworkChange(c, messages.Failure{Text: change.refusal})
	default:
		h.ledger.DropNetwork(change.bridge)
		h.endNetworkChange(c, messages.SuccessText{Text: "removed network"})
	}
}

// endNetworkChange answers the command under way, and begins the next.
func (h *host) endNetworkChange(c *supervise.Context, answer messages.Payload) {
	h.answer(c, h.networks.now.Value.ticket, answer)
	failpoint.Here("networks/told")
	h.nextNetworkChange(c)
}

func (h *host) nextNetworkChange(c *supervise.Context) {
	h.networks.now = messages.Option[networkChange]{}
	waiting := h.networks.waiting
	h.networks.waiting = nil
	for _, next := range waiting {
		h.changeNetwork(c, next)
	}
}

// resumeNetworks makes the networks on record, and then takes over the unikernels.
func (h *host) resumeNetworks(c *supervise.Context, state messages.State) {
	h.networks.records = state.Unikernels
	h.networks.awaited = map[string]bool{}
	running := stationsOf(state.Unikernels)
	for _, n := range state.Networks {
		h.ledger.HoldNetwork(n)
		bridge, err := messages.BridgeOf(n.Name)
		if err != nil || h.config.Networks == nil {
			continue
		}
		h.networks.awaited[bridge] = true
		h.spawnNetwork(c, n, running[bridge])
	}
	if len(h.networks.awaited) == 0 {
		h.networksReported(c)
		return
	}
	c.After(networksPatience, networksLate{})
}

// stationsOf returns the network devices of unikernels that may run, by bridge.
func stationsOf(records []messages.Record) map[string][]network.Station {
	all := map[string][]network.Station{}
	for _, r := range records {
		if !r.Runtime.OK {
			continue
		}
		args := r.Spec.Arguments
		for i, n := range args.Networks {
			if len(n.Leases) == 0 {
				continue
			}
			s := network.Station{
				Unikernel: r.Name, MAC: n.Address(r.Name), Addresses: n.Leases, Rate: n.Rate,
				Device: n.Name, Process: r.Runtime.Value.Process,
			}
			if i == 0 {
				s.Publish = args.Publish
			}
			if taps := r.Runtime.Value.Taps; i < len(taps) {
				s.Tap = taps[i]
			}
			all[n.OnBridge()] = append(all[n.OnBridge()], s)
		}
	}
	return all
}

// networkReported stops waiting for a network at the start.
func (h *host) networkReported(c *supervise.Context, bridge string) {
	if !h.networks.awaited[bridge] {
		return
	}
	delete(h.networks.awaited, bridge)
	if len(h.networks.awaited) == 0 {
		h.networksReported(c)
	}
}

// networksReported takes over the unikernels, once.
func (h *host) networksReported(c *supervise.Context) {
	records := h.networks.records
	h.networks.records, h.networks.awaited = nil, nil
	h.resumeAll(c, records)
}

// networksLate goes on without networks that take too long.
func (h *host) networksLate(c *supervise.Context) {
	if len(h.networks.awaited) > 0 {
		c.Log().Warn("Unikernels are taken over before all networks can be used", "networks", len(h.networks.awaited))
		h.networksReported(c)
	}
}

// listNetworks returns the networks of a query, with who is on them.
func (h *host) listNetworks(of messages.Name) (list []messages.NetworkStatus) {
	for _, n := range h.ledger.Networks(of) {
		bridge, _ := messages.BridgeOf(n.Name)
		status := messages.NetworkStatus{Name: of.Relative(n.Name), Spec: n.Spec}
		if e := h.networks.byBridge[bridge]; e != nil {
			status.Trouble = e.trouble
		}
		for _, user := range h.ledger.UsersOf(bridge) {
			status.Stations = append(status.Stations, h.stationsOn(bridge, user)...)
		}
		list = append(list, status)
	}
	return list
}

// stationsOn returns the network devices of a unikernel on a bridge.
func (h *host) stationsOn(bridge string, name messages.Name) (list []messages.NetworkStation) {
	s := h.slots[name]
	if s == nil || s.current == nil {
		return nil
	}
	args := s.current.spec.Arguments
	for i, n := range args.Networks {
		if n.OnBridge() != bridge {
			continue
		}
		on := messages.NetworkStation{Unikernel: name, MAC: n.Address(name), Addresses: n.Leases}
		if i == 0 {
			on.Publish = args.Publish
		}
		list = append(list, on)
	}
	return list
}
