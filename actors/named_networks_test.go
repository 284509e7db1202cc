package actors_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"albatross/actors/supervise"
	"albatross/messages"
	"albatross/runtime/network"
)

// fakeNetworks are networks that are made of nothing, and fail on demand.
type fakeNetworks struct {
	mu    sync.Mutex
	up    map[string]chan struct{} // by name; closed: it needs a repair
	plugs map[string][]string      // names of those that ran when it was made first
	ups   int
	fail  map[string]error // by "choose", "up" and "down"
}

func withNetworks(w *world) {
	w.config.Networks = &fakeNetworks{up: map[string]chan struct{}{}, plugs: map[string][]string{}, fail: map[string]error{}}
}

func (w *world) networks() *fakeNetworks { return w.config.Networks.(*fakeNetworks) }

func (f *fakeNetworks) failure(what string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.fail[what]
}

func (f *fakeNetworks) fails(what string, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fail[what] = err
}

func (f *fakeNetworks) Sweep(context.Context, []messages.NamedNetwork) []error { return nil }

func (f *fakeNetworks) Choose(_ messages.Name, asked messages.NetworkAsk, taken []netip.Prefix) (messages.NetworkSpec, error) {
	spec := messages.NetworkSpec{Backend: messages.UserNetwork, MTU: 1500}
	for i := 0; !spec.Gateway.IsValid() || slices.Contains(taken, spec.Subnet()); i++ {
		spec.Gateway = netip.MustParsePrefix(fmt.Sprintf("10.0.%d.1/24", i))
	}
	if asked.Subnet.IsValid() {
		spec.Gateway = netip.PrefixFrom(asked.Subnet.Addr().Next(), asked.Subnet.Bits())
	}
	return spec, f.failure("choose")
}

func (f *fakeNetworks) Up(_ context.Context, n messages.NamedNetwork, running []network.Station) (<-chan struct{}, error) {
	if err := f.failure("up"); err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ups++
	for _, s := range running {
		f.plugs[n.Name.String()] = append(f.plugs[n.Name.String()], s.Unikernel.String())
	}
	f.up[n.Name.String()] = make(chan struct{})
	return f.up[n.Name.String()], nil
}

func (f *fakeNetworks) Down(_ context.Context, n messages.NamedNetwork) error {
	if err := f.failure("down"); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.up, n.Name.String())
	return nil
}

// names are those of the networks that are up.
func (f *fakeNetworks) names() (names []string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for name := range f.up {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// breaks makes a network need a repair.
func (f *fakeNetworks) breaks(name string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	close(f.up[name])
}

func (f *fakeNetworks) count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.ups
}

func failure(text string) messages.Payload { return messages.Failure{Text: messages.Public(text)} }

// control gives a command on the control socket.
func (w *world) control(name string, command messages.Command) messages.Payload {
	w.t.Helper()
	c := w.connect(messages.AtControl)
	defer c.Close()
	return c.ask(name, command)
}

func (w *world) listed(name string) []messages.NetworkStatus {
	w.t.Helper()
	return w.control(name, messages.NetworkList{}).(messages.SuccessNetworks).List
}

func TestNetworksAreMadeAndRemoved(t *testing.T) {
	w := newWorld(t, withNetworks)
	require.Empty(t, w.listed(":"))
	require.Equal(t, success("created network"), w.control("a:net", messages.NetworkCreate{}))
	require.Equal(t, success("created network"), w.control("other", messages.NetworkCreate{}))
	require.Equal(t, []string{":other", "a:net"}, w.networks().names())
	list := w.listed("a:")
	require.Len(t, list, 1)
	require.Equal(t, ":net", list[0].Name.String(), "below the path")
	require.Equal(t, "10.0.0.1/24", list[0].Spec.Gateway.String())
	require.Empty(t, list[0].Trouble)

	require.Equal(t, failure("cannot make network a:net: it exists"), w.control("a:net", messages.NetworkCreate{}))
	require.Equal(t, failure("cannot make network :a.net: network a:net has a bridge of the same name"), w.control("a.net", messages.NetworkCreate{}))
	require.Equal(t, failure("cannot make network :third: its subnet overlaps that of network a:net (10.0.0.0/24): choose another with --subnet"),
		w.control("third", messages.NetworkCreate{Asked: messages.NetworkAsk{Subnet: netip.MustParsePrefix("10.0.0.128/25")}}))
	require.Equal(t, failure("cannot name a network a:: that is a path"), w.control("a:", messages.NetworkCreate{}))
	require.Equal(t, failure("cannot remove network :none: there is none"), w.control("none", messages.NetworkRemove{}))
	require.Equal(t, failure("cannot remove network :a.net: there is none"), w.control("a.net", messages.NetworkRemove{}), "only its bridge has that name")

	w.restart()
	require.Len(t, w.listed(":"), 2)
	w.until("they are up again", func() bool { return w.networks().count() == 4 })
	require.Equal(t, success("removed network"), w.control("a:net", messages.NetworkRemove{}))
	require.Equal(t, []string{":other"}, w.networks().names())
	w.restart()
	require.Len(t, w.listed(":"), 1)
	require.Equal(t, success("removed network"), w.control("other", messages.NetworkRemove{}))
	require.Empty(t, w.listed(":"))
	w.requireNothing()
}

// TestANetworkThatCannotBeMade leaves nothing.
func TestANetworkThatCannotBeMade(t *testing.T) {
	w := newWorld(t, withNetworks)
	w.networks().fails("choose", errors.New("no subnet is free"))
	require.Equal(t, failure("no subnet is free"), w.control("net", messages.NetworkCreate{}))
	w.networks().fails("choose", nil)
	w.networks().fails("up", errors.New("no bridge"))
	require.Equal(t, failure("no bridge"), w.control("net", messages.NetworkCreate{}))
	require.Empty(t, w.listed(":"))
	state, err := w.config.DB.Load()
	require.NoError(t, err)
	require.Empty(t, state.Networks)

	w.networks().fails("down", errors.New("it stays"))
	require.Equal(t, failure("no bridge; and it cannot be removed: it stays"), w.control("net", messages.NetworkCreate{}))
	require.Len(t, w.listed(":"), 1, "what may be there is on record")
	w.networks().fails("up", nil)
	w.networks().fails("down", nil)
	w.until("it is up", func() bool { list := w.listed(":"); return list[0].Trouble == "" })
	require.Equal(t, success("removed network"), w.control("net", messages.NetworkRemove{}))
	w.requireNothing()
}

// TestANetworkThatBreaks is repaired, and says meanwhile why it cannot be used.
func TestANetworkThatBreaks(t *testing.T) {
	w := newWorld(t, withNetworks)
	require.Equal(t, success("created network"), w.control("net", messages.NetworkCreate{}))
	w.networks().fails("up", errors.New("no process"))
	w.networks().breaks(":net")
	w.until("it is in trouble", func() bool { return w.listed(":")[0].Trouble == "no process" })
	w.networks().fails("up", nil)
	w.until("it is repaired", func() bool { return w.listed(":")[0].Trouble == "" })
	w.networks().fails("down", errors.New("it stays"))
	require.Equal(t, failure("it stays"), w.control("net", messages.NetworkRemove{}))
	require.Len(t, w.listed(":"), 1)
	w.networks().fails("down", nil)
	require.Equal(t, success("removed network"), w.control("net", messages.NetworkRemove{}))
	w.requireNothing()
}

// TestNetworksInTroubleDoNotStopTheStart of what needs none of them.
func TestNetworksInTroubleDoNotStopTheStart(t *testing.T) {
	w := newWorld(t, withNetworks)
	require.Equal(t, success("created network"), w.control("net", messages.NetworkCreate{}))
	w.succeeds("created unikernel", ":x", create(guest("hello", "--quiet")))
	w.networks().fails("up", errors.New("no process"))
	w.restart()
	require.Len(t, w.infos(":"), 1)
	require.Equal(t, messages.Public("no process"), w.listed(":")[0].Trouble)
	w.networks().fails("up", nil)
	w.until("it is repaired", func() bool { return w.listed(":")[0].Trouble == "" })
	require.Equal(t, success("removed network"), w.control("net", messages.NetworkRemove{}))
}

// TestNetworksWithoutTheirProgram: a daemon without it says so, and runs.
func TestNetworksWithoutTheirProgram(t *testing.T) {
	w := newWorld(t)
	require.Equal(t, failure("cannot make a network: albatross-network is not installed beside the daemon"), w.control("net", messages.NetworkCreate{}))
	require.Equal(t, failure("cannot publish a port of :x: there is no such unikernel"), w.control("x", messages.PublishAdd{Publication: messages.Publication{From: 1, To: 1}}))
}

// TestAChangeOfANetworkThatIsNotStored is undone, since it may be on disk all the same, as often as it
// takes, before another one begins.
func TestAChangeOfANetworkThatIsNotStored(t *testing.T) {
	faults := supervise.NewFaults(0, nil)
	w := newWorld(t, withNetworks, func(w *world) { w.faults = faults })
	unstored := func(command messages.Command) {
		t.Helper()
		faults.Set(supervise.Rule{Fault: supervise.Drop, Kind: "store", Type: "messages.StoreWrite", Probability: 1})
		require.Equal(t, failure(messages.StoreFailed), w.control("net", command))
		w.until("the first try to undo it has failed", func() bool { return faults.Injected() >= 2 })
		faults.Set()
	}
	unstored(messages.NetworkCreate{})
	require.Equal(t, success("created network"), w.control("net", messages.NetworkCreate{}))
	unstored(messages.NetworkRemove{})
	require.Equal(t, success("created network"), w.control("other", messages.NetworkCreate{}), "afterwards")
	require.Len(t, w.listed(":"), 2)
	var told []messages.EventKind
	list, _, err := w.config.DB.Events(1, 100)
	require.NoError(t, err)
	for _, e := range list {
		if e.Event.Kind != messages.EventDaemonStarted {
			told = append(told, e.Event.Kind)
		}
	}
	require.Equal(t, []messages.EventKind{
		messages.EventNetworkRemoved, messages.EventNetworkCreated, messages.EventNetworkCreated, messages.EventNetworkCreated,
	}, told)
	state, err := w.config.DB.Load()
	require.NoError(t, err)
	require.Len(t, state.Networks, 2)
	for _, name := range []string{"net", "other"} {
		require.Equal(t, success("removed network"), w.control(name, messages.NetworkRemove{}))
	}
	w.requireNothing()
}
