package actors_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"albatross/actors/supervise"
	"albatross/messages"
)

// owners returns who owns what.
func (w *world) owners(name string) map[string]messages.Owner {
	w.t.Helper()
	owners := map[string]messages.Owner{}
	for _, o := range w.control(name, messages.OwnerList{}).(messages.SuccessOwners).List {
		owners[string(o.Kind)+" "+o.Name.String()] = o.Owner
	}
	return owners
}

// deployFor is a create for an owner.
func deployFor(owner messages.Owner, config messages.Config, force bool) messages.Command {
	command := create(config)
	command.Force = force
	return messages.UnikernelDeploy{Create: command, Owner: owner}
}

var somePolicy = messages.Policy{Unikernels: 5, CPUIDs: []int{0}, Memory: 200, Block: messages.Some(5)}

func ownedPolicy(owner messages.Owner, memory int) messages.PolicyDeploy {
	p := somePolicy
	p.Memory, p.Owner = memory, owner
	return messages.PolicyDeploy{Policy: p}
}

func own(kind messages.Kind, owner messages.Owner) messages.OwnRequest {
	return messages.OwnRequest{Kind: kind, Owner: owner}
}

// TestOwnersAreStoredWithWhatTheyHave, for every kind of thing, and go with it.
func TestOwnersAreStoredWithWhatTheyHave(t *testing.T) {
	w := newWorld(t, withBlocks, withNetworks)
	require.Empty(t, w.owners(":"))
	require.Equal(t, success("added policy"), w.control("a:", ownedPolicy("me", 200)))
	require.Equal(t, success("created network"), w.control("a:net", messages.NetworkCreate{Asked: messages.NetworkAsk{Owner: "me"}}))
	require.Equal(t, success("added block device"), w.control("a:disk", messages.BlockDeploy{Size: 1, Owner: "me"}))
	require.Equal(t, success("created unikernel"), w.control("a:x", deployFor("me", guest("hello", "--quiet"), false)))
	w.succeeds("created unikernel", "b", create(guest("hello", "--quiet")))
	all := map[string]messages.Owner{"policy a:": "me", "network a:net": "me", "block a:disk": "me", "unikernel a:x": "me"}
	require.Equal(t, all, w.owners(":"))
	w.restart()
	require.Equal(t, all, w.owners(":"))
	require.Equal(t, map[string]messages.Owner{"policy :": "me", "network :net": "me", "block :disk": "me", "unikernel :x": "me"}, w.owners("a:"))

	// Nobody in particular changes it: it stays whose it is.
	p := somePolicy
	p.Memory = 300
	require.Equal(t, success("added policy"), w.addPolicy("a:", p))
	require.Equal(t, success("added policy"), w.control("a:", ownedPolicy("", 301)))
	w.succeeds("created unikernel", "a:x", force(guest("hello", "--quiet", "other")))
	require.Equal(t, success("created unikernel"), w.control("a:x", deployFor("", guest("hello", "--quiet", "third"), true)))
	require.Equal(t, success("created unikernel"), w.control("a:x", messages.RollbackRequest{Number: 1}))
	require.Equal(t, all, w.owners(":"))

	// Another owner changes nothing.
	const taken = ": it belongs to the owner me, and not to you: give me as the owner, or remove it first"
	require.Equal(t, failure("cannot change the policy a:"+taken), w.control("a:", ownedPolicy("you", 250)))
	require.Equal(t, failure("cannot change the unikernel a:x"+taken), w.control("a:x", deployFor("you", guest("hello"), true)))
	require.Equal(t, failure("cannot change the policy a:"+taken), w.control("a:", own(messages.KindPolicy, "you")))
	require.Equal(t, failure("cannot change the unikernel a:x"+taken), w.control("a:x", own(messages.KindUnikernel, "you")))
	require.Equal(t, failure("cannot change the network a:net"+taken), w.control("a:net", own(messages.KindNetwork, "you")))
	require.Equal(t, failure("cannot change the block a:disk"+taken), w.control("a:disk", own(messages.KindBlock, "you")))
	require.Equal(t, all, w.owners(":"))

	// What is removed and made again is nobody's.
	w.succeeds("destroyed unikernel", "a:x", messages.UnikernelDestroy{})
	require.Equal(t, success("removed network"), w.control("a:net", messages.NetworkRemove{}))
	w.succeeds("removed block", "a:disk", messages.BlockRemove{})
	w.succeeds("removed policy", "a:", messages.PolicyRemove{})
	require.Empty(t, w.owners(":"))
	w.succeeds("added block device", "a:disk", messages.BlockAdd{Size: 1})
	require.Equal(t, success("created network"), w.control("a:net", messages.NetworkCreate{}))
	w.restart()
	require.Empty(t, w.owners(":"))
}

// TestWhatExistsGetsAnOwner, and goes on as it was.
func TestWhatExistsGetsAnOwner(t *testing.T) {
	w := newWorld(t, withBlocks, withNetworks)
	require.Equal(t, success("added policy"), w.addPolicy("a:", somePolicy))
	require.Equal(t, success("created network"), w.control("a:net", messages.NetworkCreate{}))
	w.succeeds("added block device", "a:disk", messages.BlockAdd{Size: 1})
	w.succeeds("created unikernel", "a:x", create(guest("hello", "--quiet")))
	w.succeeds("created unikernel", "a:halted", create(guest("hello", "--quiet")))
	require.Equal(t, success("stopped unikernel"), w.control("a:halted", messages.StopRequest{}))
	pid := w.pid("a:x")
	for name, kind := range map[string]messages.Kind{
		"a:": messages.KindPolicy, "a:net": messages.KindNetwork, "a:disk": messages.KindBlock, "a:x": messages.KindUnikernel, "a:halted": messages.KindUnikernel,
	} {
		_, done := w.control(name, own(kind, "me")).(messages.SuccessText)
		require.True(t, done, name)
	}
	all := map[string]messages.Owner{"policy a:": "me", "network a:net": "me", "block a:disk": "me", "unikernel a:x": "me", "unikernel a:halted": "me"}
	require.Equal(t, all, w.owners(":"))
	w.restart()
	require.Equal(t, all, w.owners(":"))
	require.Equal(t, pid, w.pid("a:x"))
	require.Equal(t, "me", string(w.statuses("a:x")[0].Owner))

	require.Equal(t, failure("cannot give b:x an owner: there is no such unikernel"), w.control("b:x", own(messages.KindUnikernel, "me")))
	require.Equal(t, failure("cannot give b:x an owner: there is no such network"), w.control("b:x", own(messages.KindNetwork, "me")))
	require.Equal(t, failure("cannot give b:x an owner: there is no such block device"), w.control("b:x", own(messages.KindBlock, "me")))
	require.Equal(t, failure("cannot give the policy of b an owner: it has none of its own"), w.control("b:", own(messages.KindPolicy, "me")))
	require.Equal(t, failure("cannot give the policy of  an owner: it has none of its own"), w.control(":", own(messages.KindPolicy, "me")))
	const odd = "an owner is 1 to 64 letters, digits and characters of '.-_@/'"
	require.Equal(t, failure(odd), w.control("a:x", own(messages.KindUnikernel, "")))
	require.Equal(t, failure(odd), w.control("a:new", messages.BlockDeploy{Size: 1}))
	require.Equal(t, failure(odd), w.control("a:new", messages.NetworkCreate{Asked: messages.NetworkAsk{Owner: "a b"}}))
	require.Equal(t, failure(odd), w.control("a:new", deployFor("a b", guest("hello"), false)))
}

// TestAnOwnerOfNoBlockDeviceIsForgotten: a daemon that dies between the record and the device leaves
// one, and a device of that name is nobody's.
func TestAnOwnerOfNoBlockDeviceIsForgotten(t *testing.T) {
	w := newWorld(t, withBlocks)
	require.NoError(t, w.config.DB.Apply([]messages.Change{messages.PutBlock{Name: w.name("disk"), Block: messages.Block{Owner: "me"}}}))
	w.restart()
	w.succeeds("added block device", "disk", messages.BlockAdd{Size: 1})
	w.restart()
	require.Empty(t, w.owners(":"))
}

// TestAnOwnerThatCannotBeStored: nothing is made, and nothing of it comes later.
func TestAnOwnerThatCannotBeStored(t *testing.T) {
	w := newWorld(t, withBlocks, withNetworks)
	w.succeeds("added block device", "old", messages.BlockAdd{Size: 1})
	require.Equal(t, success("created network"), w.control("net", messages.NetworkCreate{}))
	w.succeeds("created unikernel", "x", create(guest("hello", "--quiet")))
	w.untilMarked(":x")
	mend := w.breakDisk()
	for name, command := range map[string]messages.Command{
		"new": messages.BlockDeploy{Size: 1, Owner: "me"}, "old": own(messages.KindBlock, "me"), "net": own(messages.KindNetwork, "me"),
		"x": own(messages.KindUnikernel, "me"), "a:": ownedPolicy("me", 100),
	} {
		require.IsType(t, messages.Failure{}, w.control(name, command), name)
	}
	require.Empty(t, w.owners(":"))
	mend()
	w.until("the new one can be made", func() bool {
		return w.control("new", messages.BlockDeploy{Size: 1, Owner: "you"}) == success("added block device")
	})
	w.restart()
	require.Equal(t, map[string]messages.Owner{"block :new": "you"}, w.owners(":"))
}

// ownerCommands make things that have owners, and give those that have none one.
func ownerCommands(w *world) {
	w.t.Helper()
	w.control("disk", messages.BlockDeploy{Size: 1, Owner: "me"})
	w.control("disk", own(messages.KindBlock, "me"))
	w.control("net", messages.NetworkCreate{})
	w.control("net", own(messages.KindNetwork, "me"))
	w.control("a:", ownedPolicy("me", 100))
	w.control("x", deployFor("", guest("hello", "--quiet"), false))
	w.control("x", own(messages.KindUnikernel, "me"))
}

// afterOwners checks that everything can have its owner: by the next daemon, since the file of a block
// device may be gone whose actor has failed just after it was made.
func afterOwners(w *world) {
	w.t.Helper()
	w.restart()
	w.until("all have their owners", func() bool {
		ownerCommands(w)
		return len(w.owners(":")) == 4
	})
	all := w.owners(":")
	w.restart()
	require.Equal(w.t, all, w.owners(":"))
}

// TestABlockDeviceDoesNotGetTheOwnerOfAnEarlierOne whose end could not be stored: what belongs to an
// owner may be destroyed in its name.
func TestABlockDeviceDoesNotGetTheOwnerOfAnEarlierOne(t *testing.T) {
	faults := supervise.NewFaults(0, nil)
	w := newWorld(t, withBlocks, func(w *world) { w.faults = faults })
	require.Equal(t, success("added block device"), w.control("a:disk", messages.BlockDeploy{Size: 1, Owner: "me"}))
	faults.Set(supervise.Rule{Fault: supervise.Drop, Kind: "store", Type: "messages.StoreWrite", Probability: 1})
	w.succeeds("removed block", "a:disk", messages.BlockRemove{})
	w.until("that could not be stored", func() bool { return faults.Injected() == 1 })
	faults.Set()
	w.succeeds("added block device", "a:disk", messages.BlockAdd{Size: 1})
	require.Empty(t, w.owners(":"))
	w.restart()
	require.Empty(t, w.owners(":"))
}
