package remote

import (
	"context"
	"errors"
	"fmt"
	"time"

	"albatross/messages"
	"albatross/sockets/client"
	"albatross/sockets/wire"
)

// applyPolicies sends the daemon the policies of the chain, from the root on, to replace
// its own. If one is refused, the command is not carried out. Policies limit only
// commands for vmmd, and those of sessions that change something: a subscription changes nothing,
// and goes on when a policy has become smaller than what runs.
func (e *exchange) applyPolicies(ctx context.Context) error {
	if e.properties.At != messages.AtVMMD && !e.properties.Changes {
		return nil
	}
	policies, err := e.policiesToSend()
	if err != nil || len(policies) == 0 {
		return err
	}
	if err := e.reach(ctx, messages.AtVMMD); err != nil {
		return err
	}
	if err = e.sendPolicies(policies); err != nil || e.properties.At != messages.AtVMMD {
		e.hangUp()
	}
	return err
}

// policiesToSend returns the policies above the first one that allows nothing, which the
// daemon would not accept. Nothing can run below that one: the endpoint passes questions
// on, and refuses the rest itself.
func (e *exchange) policiesToSend() ([]messages.NamedPolicy, error) {
	for i, p := range e.request.Policies {
		if !p.Policy.AllowsNothing() {
			continue
		}
		if e.properties.Changes {
			return nil, refusal{fmt.Errorf("the policy of %s allows nothing, and so no %s", p.Name, e.properties.Word)}
		}
		return e.request.Policies[:i], nil
	}
	return e.request.Policies, nil
}

func (e *exchange) sendPolicies(policies []messages.NamedPolicy) error {
	for _, p := range policies {
		if err := e.sendPolicy(p); err != nil {
			return err
		}
	}
	return nil
}

func (e *exchange) sendPolicy(p messages.NamedPolicy) error {
	if err := e.daemon.SetDeadline(time.Now().Add(client.AnswerTimeout)); err != nil {
		return fmt.Errorf("cannot ask the daemon: %w", err)
	}
	err := wire.WriteFrame(e.daemon, messages.Wire{Header: e.header(p.Name), Payload: messages.PolicyAdd{Policy: p.Policy}})
	if err != nil {
		return refusal{fmt.Errorf("cannot set the policy of %s: %w", p.Name, errNoDaemon)}
	}
	frame, err := wire.ReadFrame(e.fromDaemon, wire.MaxCommand)
	if err != nil {
		return refusal{fmt.Errorf("cannot set the policy of %s: %w", p.Name, errNoDaemon)}
	}
	answer, err := wire.Decode(frame)
	if err != nil {
		return refusal{fmt.Errorf("cannot set the policy of %s: %w", p.Name, errOddAnswer)}
	}
	switch a := answer.Payload.(type) {
	case messages.Success:
		return nil
	case messages.Failure:
		return refusal{fmt.Errorf("cannot set the policy of %s: %s", p.Name, a.Text)}
	}
	return refusal{fmt.Errorf("cannot set the policy of %s: %w", p.Name, errOddAnswer)}
}

var errOddAnswer = errors.New("the daemon's answer makes no sense")
