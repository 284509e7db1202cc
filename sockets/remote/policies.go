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

// applyPolicies tells the daemon the policies of the chain, from the root on, in
// place of those that are there. When one is refused, nothing else happens.
func (x *exchange) applyPolicies(ctx context.Context) error {
	if len(x.request.Policies) == 0 {
		return nil
	}
	if err := x.reach(ctx, vmmd); err != nil {
		return err
	}
	err := x.sendPolicies()
	// The connection stays open for a command, if that is for the same socket.
	if err != nil || x.conduct.socket != vmmd {
		x.hangUp()
	}
	return err
}

func (x *exchange) sendPolicies() error {
	for _, p := range x.request.Policies {
		if err := x.sendPolicy(p); err != nil {
			return err
		}
	}
	return nil
}

func (x *exchange) sendPolicy(p messages.NamedPolicy) error {
	if err := x.daemon.SetDeadline(time.Now().Add(client.AnswerTimeout)); err != nil {
		return fmt.Errorf("cannot ask the daemon: %w", err)
	}
	err := wire.WriteFrame(x.daemon, messages.Wire{Header: x.header(p.Name), Payload: messages.PolicyAdd{Policy: p.Policy}})
	if err != nil {
		return refusal{fmt.Errorf("cannot set the policy of %s: %w", p.Name, errNoDaemon)}
	}
	frame, err := wire.ReadFrame(x.hears, wire.MaxCommand)
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
