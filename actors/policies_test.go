package actors_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"albatross/messages"
	"albatross/runtime/store"
)

func policy(unikernels, memory int) messages.Policy {
	return messages.Policy{Unikernels: unikernels, Memory: memory, CPUIDs: []int{0}}
}

func (w *world) policies(name string) map[string]messages.Policy {
	w.t.Helper()
	policies := map[string]messages.Policy{}
	for _, p := range w.ask(name, messages.PolicyInfo{}).(messages.SuccessPolicies).List {
		policies[p.Name.String()] = p.Policy
	}
	return policies
}

// addPolicy sets a policy on a connection of its own, which stays open after a success.
func (w *world) addPolicy(name string, p messages.Policy) messages.Payload {
	w.t.Helper()
	c := w.connect(messages.AtVMMD)
	defer c.Close()
	c.send(name, messages.PolicyAdd{Policy: p})
	return c.receive().Payload
}

func TestPolicies(t *testing.T) {
	w := newWorld(t)
	require.Equal(t, success("added policy"), w.addPolicy("a:", policy(2, 64)))
	require.Equal(t, success("no modification of policy"), w.addPolicy("a:", policy(2, 64)))
	require.Equal(t, success("added policy"), w.addPolicy("a:b:whatever", policy(1, 32)))
	require.Equal(t, fails("policy above allows 2 unikernels, which is fewer than 3"), w.addPolicy("a:b:", policy(3, 32)))
	require.Equal(t, fails("policy above allows 31 MB memory, which is fewer than 32 MB"), w.addPolicy("a:", policy(2, 31)))
	require.Equal(t, fails("Unusable policy with no unikernels"), w.addPolicy("c:", policy(0, 32)))
	require.Equal(t, map[string]messages.Policy{":": policy(2, 64), "b:": policy(1, 32)}, w.policies("a:"))

	w.succeeds("created unikernel", "a:b:x", create(guest("hello", "--quiet")))
	w.fails("maximum amount of unikernels (1) reached", "a:b:y", create(guest("hello")))
	w.succeeds("created unikernel", "a:y", create(guest("hello", "--quiet")))
	w.fails("maximum amount of unikernels (2) reached", "a:c:z", create(guest("hello")))
	require.Equal(t, fails("unikernel would exceed running unikernel limit set by policy to 1, running 2"), w.addPolicy("a:", policy(1, 64)))

	w.restart()
	require.Equal(t, map[string]messages.Policy{":": policy(2, 64), "b:": policy(1, 32)}, w.policies("a:"), "it is on disk")
	w.succeeds("removed policy", "a:b:", messages.PolicyRemove{})
	w.fails("unknown policy", "a:b:", messages.PolicyRemove{})
	w.restart()
	require.Equal(t, map[string]messages.Policy{":": policy(2, 64)}, w.policies("a:"))
	w.fails("maximum amount of unikernels (2) reached", "a:b:z", create(guest("hello")))
}

// TestTheRootPolicyFollowsTheMachine: a policy of the root does not outlive the daemon, for the
// next one may run on another machine.
func TestTheRootPolicyFollowsTheMachine(t *testing.T) {
	w := newWorld(t)
	require.Equal(t, success("added policy"), w.addPolicy(":", policy(5, 64)))
	require.Equal(t, map[string]messages.Policy{":": policy(5, 64)}, w.policies(":"))
	w.restart()
	require.Equal(t, map[string]messages.Policy{":": w.config.RootPolicy}, w.policies(":"))
}

// TestAnotherCommandAfterAPolicy: a connection stays open after a policy that was added, and only
// then.
func TestAnotherCommandAfterAPolicy(t *testing.T) {
	w := newWorld(t)
	c := w.connect(messages.AtVMMD)
	for _, text := range []string{"added policy", "no modification of policy"} {
		c.send("a:", messages.PolicyAdd{Policy: policy(2, 64)})
		require.Equal(t, success(text), c.receive().Payload)
	}
	c.send("a:b:", messages.PolicyAdd{Policy: policy(3, 64)})
	require.Equal(t, fails("policy above allows 2 unikernels, which is fewer than 3"), c.receive().Payload)
	<-c.closed
	c = w.connect(messages.AtVMMD)
	c.send("a:", messages.PolicyAdd{Policy: policy(2, 64)})
	c.receive()
	c.send("a:", messages.PolicyInfo{})
	require.IsType(t, messages.SuccessPolicies{}, c.receive().Payload)
	<-c.closed
}

// TestPoliciesAtOnce: changes that come together are carried out one after the other, each on top
// of the result of the one before.
func TestPoliciesAtOnce(t *testing.T) {
	w := newWorld(t)
	clients := make([]*client, 20)
	for i := range clients {
		clients[i] = w.connect(messages.AtVMMD)
		clients[i].send("a:", messages.PolicyAdd{Policy: policy(i+1, 64)})
	}
	for _, c := range clients {
		require.Equal(t, success("added policy"), c.receive().Payload)
		c.Close()
	}
	require.Len(t, w.policies("a:"), 1)
}

func fails(text string) messages.Payload { return messages.Failure{Text: messages.Public(text)} }

// TestNamesThatNoPolicyCanHave are refused. A policy with such a name that is on record is loaded,
// and may be set again.
func TestNamesThatNoPolicyCanHave(t *testing.T) {
	w := newWorld(t)
	odd := policy(1, 64)
	for name, why := range map[string]string{
		"":                 `"" cannot be the name of an interface: it is empty`,
		"br\n0":            `"br\n0" cannot be the name of an interface: it contains a space or a control character`,
		"sixteen--letters": `"sixteen--letters" cannot be the name of an interface: it has more than 15 bytes`,
	} {
		odd.Bridges = []string{"br0", name}
		require.Equal(t, fails("cannot allow a bridge: "+why), w.addPolicy("a:", odd))
	}
	deep := strings.Repeat("a:", 128)
	require.Equal(t, success("added policy"), w.addPolicy(deep, policy(1, 64)))
	require.Equal(t, fails("cannot put a policy on a path of 257 bytes: at most 255 are possible"), w.addPolicy(deep+"a:", policy(1, 64)))

	w.shutdown()
	db, err := store.Open(w.dir)
	require.NoError(t, err)
	odd.Bridges = []string{""}
	require.NoError(t, db.Apply([]messages.Change{messages.PutPolicy{Path: "old", Policy: odd}}))
	require.NoError(t, db.Close())
	w.start()
	require.Equal(t, odd, w.policies("old:")[":"])
	require.Equal(t, success("no modification of policy"), w.addPolicy("old:", odd))
	w.succeeds("removed policy", "old:", messages.PolicyRemove{})
	w.succeeds("removed policy", deep, messages.PolicyRemove{})
}
