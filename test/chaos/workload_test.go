package chaos

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync/atomic"

	"albatross/messages"
)

// How much there is on a host under siege.
const (
	customers     = 20
	labelsOfOne   = 3  // unikernels of each
	withPolicies  = 10 // of the customers
	withDevices   = 10
	siegeNetworks = 5
)

// A customer changes things of its own for as long as a siege lasts. What it asks for may be refused.
type customer struct {
	c      *caller
	id     int
	random *rand.Rand
	guests []guest
	halted map[string][]string // the states that a unikernel may have been in before it was stopped
}

func newCustomer(h *host, id int, random *rand.Rand) *customer {
	u := &customer{c: newRoughCaller(h), id: id, random: random, halted: map[string][]string{}}
	for _, argument := range []string{"1", "2"} {
		u.guests = append(u.guests, run("hello", "--quiet", argument), run("chatty", argument).compressed(),
			run("net", argument).networked("service"), run("web", argument).networkedOn(siegeBridge(id%siegeNetworks), "service"))
	}
	return u
}

func (u *customer) path() string { return fmt.Sprintf("customer%d:", u.id) }

// work changes one thing after the other.
func (u *customer) work(over *atomic.Bool) {
	for !over.Load() {
		u.step()
	}
	u.c.leave()
}

func (u *customer) step() {
	switch choice := u.random.IntN(10); {
	case choice == 0 && u.id < withPolicies:
		u.changePolicy()
	case choice <= 2 && u.id < withDevices:
		u.changeDevice()
	case choice == 3:
		u.crowd()
	case choice == 4 && u.id == 0:
		u.changeNetwork()
	default:
		u.changeUnikernel()
	}
}

func (u *customer) changeUnikernel() {
	name := fmt.Sprintf("%s%d-%d", u.path(), u.id, u.random.IntN(labelsOfOne))
	t := thing{unikernel, parse(name)}
	now := u.c.h.journal.all(t)
	next := u.guests[u.random.IntN(len(u.guests))]
	certain := len(now) == 1 && now[0] != absent && now[0] != halted
	switch choice := u.random.IntN(5); {
	case slices.Equal(now, []string{absent}) && choice == 0:
		u.c.create(name, next)
	case slices.Equal(now, []string{absent}), choice == 0:
		u.c.force(name, next)
	case choice == 1:
		u.c.destroy(name)
	case choice == 2 && certain:
		u.c.restart(name, u.sameImage(now[0]))
	case choice <= 3:
		u.halted[name] = runningStates(now, u.halted[name])
		u.c.halt(name)
	case len(u.halted[name]) > 0:
		u.c.goOnRoughly(name, u.halted[name])
	}
}

// runningStates are the states that a unikernel may have been in while it ran, if it may have been
// stopped before.
func runningStates(now, before []string) []string {
	if !slices.Contains(now, halted) {
		before = nil
	}
	all := slices.Concat(now, before)
	slices.Sort(all)
	return slices.DeleteFunc(slices.Compact(all), func(state string) bool { return state == absent || state == halted })
}

// goOnRoughly starts a stopped unikernel, which is in one of some states then.
func (c *caller) goOnRoughly(name string, states []string) {
	t := thing{unikernel, parse(name)}
	c.h.journal.may(t, states...)
	if _, refusal := c.say("control", do(t.name, messages.StartRequest{})); refusal != "" {
		c.unchanged(t, refusal, states...)
		return
	}
	sum.add(c.h.mode, answered, 1)
	c.h.journal.is(t, states...)
}

// sameImage is a guest with the image of the one in a state.
func (u *customer) sameImage(state string) guest {
	is := slices.IndexFunc(u.guests, func(g guest) bool { return g.state() == state })
	for {
		if g := u.guests[u.random.IntN(len(u.guests))]; g.program == u.guests[is].program {
			return g
		}
	}
}

func (u *customer) changePolicy() {
	if u.random.IntN(3) == 0 {
		u.c.removePolicy(u.path())
		return
	}
	u.c.addPolicy(u.path(), messages.Policy{
		Unikernels: 10 + u.random.IntN(5), CPUIDs: []int{0}, Memory: 100, Block: messages.Some(10),
		Bridges: []string{siegeBridge(u.id % siegeNetworks), bridge}, // in the order in which they are kept
	})
}

func (u *customer) changeDevice() {
	name, contents := u.path()+"disk", fmt.Sprint(u.random.IntN(100))
	switch u.random.IntN(4) {
	case 0:
		u.c.addDevice(name, contents)
	case 1:
		u.c.removeDevice(name)
	default:
		u.c.setDevice(name, contents, u.random.IntN(2) == 0)
	}
}

// changeNetwork makes or removes a network that nobody uses.
func (u *customer) changeNetwork() {
	spare := netToMake{backend: messages.UserNetwork, number: 100}
	if u.random.IntN(2) == 0 {
		u.c.makeNetwork("spare:x", spare)
		return
	}
	u.c.removeNetwork(parse("spare:x"))
}
