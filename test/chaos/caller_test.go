package chaos

import (
	"context"
	"errors"

	"albatross/messages"
	"albatross/sockets/client"
)

// A caller is a client that does one thing after the other, keeps the journal of
// it, and does nothing any more when the daemon has died.
type caller struct {
	h    *host
	dead bool

	// rough: faults are injected into the daemon, which may refuse anything and hang up at any
	// time, but must do one of these or answer. Then nothing is known to have changed or not.
	rough bool
	// One on another machine talks to the endpoint, in a session.
	afar    *endpoint
	session *client.Session
}

// A talk is what is said on a connection.
type talk func(context.Context, *client.Conn) (messages.Success, error)

// command is a talk that is one question and one answer.
func command(name messages.Name, command messages.Command) talk {
	return func(ctx context.Context, conn *client.Conn) (messages.Success, error) {
		return conn.Ask(ctx, name, command)
	}
}

// on is command, by a socket.
func on(socket string, name messages.Name, of messages.Command) talk {
	if socket == "control" {
		return do(name, of)
	}
	return command(name, of)
}

var errNoAnswer = errors.New("the daemon lives and does not answer")

// say talks to the daemon. There is no answer where it has died, or where it
// refuses: then refusal says why.
func (c *caller) say(socket string, what talk) (answer messages.Success, refusal string) {
	if c.dead {
		return nil, ""
	}
	ctx, cancel := context.WithTimeoutCause(context.Background(), patience, errNoAnswer)
	defer cancel()
	if c.rough {
		return c.sayRoughly(ctx, socket, what)
	}
	answer, err := c.h.connected(ctx, socket, what)
	var refused *client.Refusal
	switch {
	case errors.As(err, &refused):
		return nil, refused.Text
	case errors.Is(err, errNoAnswer):
		c.h.t.Errorf("%s: %v", c.h.doing, err)
	}
	c.dead = err != nil
	return answer, ""
}

func (h *host) connected(ctx context.Context, socket string, what talk) (messages.Success, error) {
	conn, err := client.Dial(ctx, h.socket(socket))
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	return what(ctx, conn)
}

// change asks for a change that must not be refused. Until it is acknowledged a
// thing is in the state that it was in or in that after it.
func (c *caller) change(t thing, after string, what talk) { c.changeBy("vmmd", t, after, what) }

// changeBy is change, by a socket.
func (c *caller) changeBy(socket string, t thing, after string, what talk) {
	if c.dead {
		return
	}
	c.h.journal.may(t, after)
	_, refusal := c.say(socket, what)
	switch {
	case refusal != "" && c.rough:
		c.unchanged(t, refusal, after)
	case refusal != "":
		c.h.t.Errorf("%s: %s %s is not changed: %s", c.h.doing, t.kind, t.name, refusal)
	case c.dead:
		sum.add(c.h.mode, cutOff, 1)
	default:
		sum.add(c.h.mode, answered, 1)
		c.h.acknowledged.Add(1)
		c.h.journal.is(t, after)
	}
}

// refused asks for what must be refused.
func (c *caller) refused(name string, command messages.Command) { c.refusedBy("vmmd", name, command) }

// refusedBy is refused, by a socket.
func (c *caller) refusedBy(socket, name string, command messages.Command) {
	answer, refusal := c.say(socket, on(socket, parse(name), command))
	if !c.dead && refusal == "" {
		c.h.t.Errorf("%s: %T of %s is not refused, but %v", c.h.doing, command, name, answer)
	}
}

func parse(name string) messages.Name {
	n, err := messages.ParseName(name)
	if err != nil {
		panic(err)
	}
	return n
}

// infos are the unikernels that run, as far as the daemon lives.
func (c *caller) infos() []messages.NamedInfo {
	answer, refusal := c.say("vmmd", command(messages.Name{}, messages.UnikernelInfo{Form: 6}))
	if infos, ok := answer.(messages.SuccessInfos); ok {
		return infos.List
	}
	c.requireDead(refusal)
	return nil
}

// policies are those of paths, which a client can change.
func (c *caller) policies() (list []messages.NamedPolicy) {
	answer, refusal := c.say("vmmd", command(messages.Name{}, messages.PolicyInfo{}))
	policies, ok := answer.(messages.SuccessPolicies)
	if !ok {
		c.requireDead(refusal)
	}
	for _, p := range policies.List {
		if p.Name.Path != messages.Root {
			list = append(list, p)
		}
	}
	return list
}

func (c *caller) devices() []messages.NamedBlock {
	answer, refusal := c.say("vmmd", command(messages.Name{}, messages.BlockList{}))
	if blocks, ok := answer.(messages.SuccessBlocks); ok {
		return blocks.List
	}
	c.requireDead(refusal)
	return nil
}

// ends are how the last runs of unikernels ended.
func (c *caller) ends() []messages.NamedEnd { return listOf(c, (*client.Conn).Ends) }

// statuses are those of all unikernels.
func (c *caller) statuses() []messages.UnikernelStatus { return listOf(c, (*client.Conn).Statuses) }

// listOf is what the daemon lists on the control socket, as far as it lives.
func listOf[T any](c *caller, ask func(*client.Conn, context.Context, messages.Name) ([]T, error)) (list []T) {
	_, refusal := c.say("control", func(ctx context.Context, conn *client.Conn) (_ messages.Success, err error) {
		list, err = ask(conn, ctx, messages.Name{})
		return nil, err
	})
	if refusal != "" {
		c.requireDead(refusal)
	}
	return list
}

func (c *caller) requireDead(refusal string) {
	if !c.dead {
		c.h.t.Errorf("%s: a question is refused: %s", c.h.doing, refusal)
	}
}

// waitFor waits for something that the daemon tells, or for its death.
func (c *caller) waitFor(what string, holds func() bool) {
	if !c.dead && !within(patience, func() bool { return holds() || c.dead }) {
		c.h.t.Errorf("%s: %s: it does not happen", c.h.doing, what)
	}
}
