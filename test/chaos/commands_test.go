package chaos

import (
	"bytes"
	"context"
	"io"
	"slices"

	"albatross/messages"
	"albatross/sockets/client"
)

// create creates a unikernel that runs until somebody ends it.
func (c *caller) create(name string, g guest) {
	n := parse(name)
	c.h.journal.moves(n, false)
	c.run(n, g, messages.UnikernelCreate{Form: 5, Config: g.config()})
}

// force replaces a unikernel, or creates it.
func (c *caller) force(name string, g guest) {
	c.end(parse(name))
	c.run(parse(name), g, messages.UnikernelCreate{Form: 5, Force: true, Config: g.config()})
}

// restart restarts a unikernel, which is that of a guest but for its arguments.
func (c *caller) restart(name string, g guest) {
	c.end(parse(name))
	c.run(parse(name), g, messages.UnikernelRestart{Form: messages.RestartArgs2, Args: messages.Some(g.Arguments)})
}

// run has a guest run, and notes as which process.
func (c *caller) run(name messages.Name, g guest, how messages.Command) {
	c.change(thing{unikernel, name}, g.state(), command(name, how))
	c.noteProcess(name)
}

// noteProcess notes as which process a unikernel runs.
func (c *caller) noteProcess(name messages.Name) {
	if c.dead || c.rough { // a rest is when processes are noted
		return
	}
	var found []messages.Process
	// In the middle of exec, the system does not tell the command line; and one that waits at
	// its gate, for a keeper that has died, ends by itself.
	if !within(patience, func() bool {
		found = c.h.processes()[name.Label]
		return len(found) == 1
	}) {
		c.h.t.Errorf("%s: %s was created, and its processes are %v", c.h.doing, name, found)
		return
	}
	c.h.journal.runs(name, found[0])
}

// refusedStart replaces a unikernel by a guest that cannot be started, but only
// when that is tried: it is started again.
func (c *caller) refusedStart(name string, g guest) {
	n := parse(name)
	c.end(n)
	c.refused(name, messages.UnikernelCreate{Form: 5, Force: true, Config: g.config()})
	c.noteProcess(n)
}

// refusing replaces a unikernel by a guest that refuses as a tender does, after
// which the one before is started again.
func (c *caller) refusing(name string, before, g guest) { c.failing(name, before, g, exits(1)) }

// failing replaces a unikernel by a guest that fails its trial, after which the one before is started
// again.
func (c *caller) failing(name string, before, g guest, how string) {
	if c.dead {
		return
	}
	n, t := parse(name), thing{unikernel, parse(name)}
	c.end(n)
	c.h.journal.moves(n, true)
	c.h.journal.may(thing{end, n}, how)
	c.changeBy("control", t, g.state(), deployment(n, g))
	c.h.journal.may(t, before.state())
	c.waitFor("the comeback of "+name, func() bool {
		ports := publications(c.networks())
		return slices.ContainsFunc(c.infos(), func(i messages.NamedInfo) bool {
			return i.Name == n && stateOfUnikernel(i.Info, ports[n]) == before.state()
		})
	})
	if !c.dead {
		c.h.journal.moves(n, false)
		c.h.journal.is(t, before.state())
		c.noteProcess(n)
	}
}

// waitProven waits until nothing is on record of what a unikernel has replaced.
func (c *caller) waitProven(name string) {
	c.waitFor("the end of the trial of "+name, func() bool {
		c.infos() // finds out whether the daemon lives
		s, err := c.h.stored()
		return err == nil && !slices.ContainsFunc(s.state.Unikernels, func(r messages.Record) bool { return r.Name == parse(name) && r.Spec.Former != nil })
	})
}

// halt stops a unikernel, which stays on record.
func (c *caller) halt(name string) {
	n := parse(name)
	c.end(n)
	c.changeBy("control", thing{unikernel, n}, halted, do(n, messages.StopRequest{}))
}

// haltMoving stops a unikernel that is started again whenever it ends.
func (c *caller) haltMoving(name string, ends ...string) {
	c.h.journal.may(thing{end, parse(name)}, ends...)
	c.halt(name)
	if !c.dead {
		c.h.journal.moves(parse(name), false)
	}
}

// goOn starts a stopped unikernel, which is in a state again that it was in before.
func (c *caller) goOn(name, state string) {
	n := parse(name)
	c.changeBy("control", thing{unikernel, n}, state, do(n, messages.StartRequest{}))
	c.noteProcess(n)
}

// rollBack replaces a unikernel by the version before, which is in a state.
func (c *caller) rollBack(name, state string) {
	n := parse(name)
	c.end(n)
	c.changeBy("control", thing{unikernel, n}, state, do(n, messages.RollbackRequest{Number: 1}))
	c.noteProcess(n)
}

// rename gives a stopped unikernel another name.
func (c *caller) rename(from, to string) {
	if c.dead {
		return
	}
	old := thing{unikernel, parse(from)}
	c.h.journal.may(old, absent)
	c.changeBy("control", thing{unikernel, parse(to)}, halted, do(old.name, messages.RenameRequest{To: parse(to)}))
	if !c.dead {
		c.h.journal.is(old, absent)
	}
}

// end notes that a unikernel is about to be ended.
func (c *caller) end(name messages.Name) {
	if !c.dead {
		c.h.journal.mayEnd(name)
		c.h.journal.may(thing{end, name}, asked, unseen)
	}
}

// createMoving creates a unikernel that ends by itself, in one of some ways. It is
// not there any more then, unless it is started again.
func (c *caller) createMoving(name string, g guest, ends ...string) {
	n := parse(name)
	c.h.journal.moves(n, true)
	c.h.journal.may(thing{end, n}, append(ends, c.h.unknown()...)...)
	c.change(thing{unikernel, n}, g.state(), command(n, messages.UnikernelCreate{Form: 5, Config: g.config()}))
	if !g.Fail.Restart {
		c.h.journal.may(thing{unikernel, n}, absent)
	}
}

// waitGone waits until a unikernel has ended that does so by itself.
func (c *caller) waitGone(name string) {
	n := parse(name)
	c.waitFor("the end of "+name, func() bool {
		return !slices.ContainsFunc(c.infos(), func(i messages.NamedInfo) bool { return i.Name == n })
	})
	if !c.dead {
		c.h.journal.moves(n, false)
		c.h.journal.is(thing{unikernel, n}, absent)
	}
}

// unknown is how a unikernel may end for the daemon besides as it does.
func (h *host) unknown() []string {
	if h.sure {
		return nil
	}
	return []string{unseen}
}

// waitEnd is waitGone for one that this daemon has seen from its beginning, and
// knows how it has ended, unless its keeper has died.
func (c *caller) waitEnd(name, how string) {
	c.waitGone(name)
	if !c.dead {
		c.h.journal.is(thing{end, parse(name)}, c.h.seen(how)...)
	}
}

// seen are the ends that this daemon may know of one that has ended before its eyes.
func (h *host) seen(how string) []string {
	if h.mode == kept && !h.sure {
		return []string{how, unseen}
	}
	return []string{how}
}

// waitRestarts waits until a unikernel has been started again so often.
func (c *caller) waitRestarts(name string, restarts int) {
	n := parse(name)
	c.waitFor("the restarts of "+name, func() bool {
		return slices.ContainsFunc(c.ends(), func(e messages.NamedEnd) bool { return e.Name == n && e.End.Restarts >= restarts })
	})
}

func (c *caller) destroy(name string) { c.destroyNamed(parse(name)) }

func (c *caller) destroyNamed(name messages.Name) {
	c.end(name)
	if !c.h.journal.isMoving(name) {
		c.change(thing{unikernel, name}, absent, command(name, messages.UnikernelDestroy{}))
		return
	}
	c.h.journal.may(thing{unikernel, name}, absent)
	_, _ = c.say("vmmd", command(name, messages.UnikernelDestroy{})) // it may have ended before
	if !c.dead {
		c.h.journal.moves(name, false)
		c.h.journal.is(thing{unikernel, name}, absent)
	}
}

func (c *caller) addPolicy(path string, p messages.Policy) {
	c.change(thing{policy, parse(path)}, stateOfPolicy(p), command(parse(path), messages.PolicyAdd{Policy: p}))
}

func (c *caller) removePolicy(path string) { c.removePolicyNamed(parse(path)) }

func (c *caller) removePolicyNamed(path messages.Name) {
	c.change(thing{policy, path}, absent, command(path, messages.PolicyRemove{}))
}

// addDevice makes a block device of 1 MB.
func (c *caller) addDevice(name, contents string) {
	add := messages.Command(messages.BlockAdd{Size: 1})
	if contents != "" {
		add = messages.BlockOldAdd{Size: 1, Data: messages.Some([]byte(contents))}
	}
	c.change(thing{device, parse(name)}, filled(contents), command(parse(name), add))
}

// requireOwner makes sure that a block device belongs to an owner on record; "": to nobody. That it does
// not any more is stored a moment after the answer.
func (c *caller) requireOwner(name string, owner messages.Owner) {
	c.waitFor("the owner of "+name, func() bool {
		c.infos() // finds out whether the daemon lives
		s, err := c.h.stored()
		return err == nil && s.state.Blocks[parse(name)].Owner == owner
	})
}

func (c *caller) setDevice(name, contents string, compressed bool) {
	data := []byte(contents)
	if compressed {
		data = deflate(data)
	}
	set := messages.BlockSet{Compressed: compressed}
	c.change(thing{device, parse(name)}, filled(contents), func(ctx context.Context, conn *client.Conn) (messages.Success, error) {
		return conn.Upload(ctx, parse(name), set, io.NopCloser(bytes.NewReader(data)))
	})
}

// dumpDevice reads a block device.
func (c *caller) dumpDevice(name, contents string) {
	var data []byte
	_, refusal := c.say("vmmd", func(ctx context.Context, conn *client.Conn) (messages.Success, error) {
		answer, err := conn.Ask(ctx, parse(name), messages.BlockDump{})
		if err == nil {
			data, err = io.ReadAll(conn.Contents(ctx))
		}
		return answer, err
	})
	if !c.dead && stateOfDevice(len(data)/megabyte, data) != filled(contents) {
		c.h.t.Errorf("%s: the dump of %s is wrong: %s", c.h.doing, name, refusal)
	}
}

func (c *caller) removeDevice(name string) { c.removeDeviceNamed(parse(name)) }

func (c *caller) removeDeviceNamed(name messages.Name) {
	c.change(thing{device, name}, absent, command(name, messages.BlockRemove{}))
}

// remove destroys or removes a thing.
func (c *caller) remove(t thing) {
	switch t.kind {
	case unikernel:
		c.destroyNamed(t.name)
	case policy:
		c.removePolicyNamed(t.name)
	case device:
		c.removeDeviceNamed(t.name)
	case network:
		c.removeNetwork(t.name)
	}
}
