package actors

import (
	"context"
	"errors"

	"github.com/asynkron/protoactor-go/actor"

	"albatross/actors/meter"
	"albatross/actors/supervise"
	"albatross/messages"
)

// Survey returns the status of all unikernels, and measures them. It costs the host no
// more than a listing does.
func (a *Actors) Survey(ctx context.Context) (meter.Survey, error) {
	s := &surveyor{host: a.host.PID()}
	ref, err := a.system.Spawn("surveyor", func() supervise.Actor { return s }, supervise.Stop)
	if err != nil {
		return meter.Survey{}, err
	}
	if err := ref.Wait(ctx); err != nil {
		stopping, cancel := context.WithTimeout(context.WithoutCancel(ctx), sessionEnd)
		defer cancel()
		return meter.Survey{}, errors.Join(errors.New("cannot find out how unikernels are: there was no answer in time"), ref.Stop(stopping))
	}
	return s.survey, s.result()
}

// A surveyor asks the host and the collector of statistics, and ends when both have
// answered. Its fields are read after its end.
type surveyor struct {
	host *actor.PID

	survey    meter.Survey
	err       error // why an answer is missing
	surveyed  bool  // the host has answered
	collected bool  // the collector has answered
}

func (s *surveyor) Started(c *supervise.Context) {
	c.Request(s.host, messages.StatusAsk{})
	c.Request(s.host, messages.StatsSnapshot{})
}

func (s *surveyor) Handle(c *supervise.Context, message any) {
	switch m := message.(type) {
	case messages.StatusReport:
		s.survey.Status, s.surveyed = m.List, true
	case messages.StatsSnapshotTaken:
		s.survey.Samples, s.collected = m.Samples, true
		if m.Err != "" {
			s.err = errors.New(m.Err)
		}
	case supervise.Crashed, supervise.Undeliverable:
		s.err = errFailedAsking
	default:
		c.Unknown(message)
	}
	if s.err != nil || s.complete() {
		c.Stop(c.Self())
	}
}

// result returns nil if both have answered.
func (s *surveyor) result() error {
	switch {
	case s.err != nil:
		return s.err
	case !s.complete():
		return errFailedAsking
	}
	return nil
}

func (s *surveyor) complete() bool { return s.surveyed && s.collected }

var errFailedAsking = errors.New("cannot find out how unikernels are: the daemon failed while it was asked; its log tells more")

func (s *surveyor) Stopping(*supervise.Context, bool) {}
