package main

import (
	"context"
	"os"
	"os/signal"
	"time"

	"github.com/spf13/cobra"

	"albatross/messages"
)

// eventsOptions select events.
type eventsOptions struct {
	name     messages.Name
	since    messages.Option[time.Time]
	noFollow bool
}

func eventsCommand(d *daemon, out *printer, inv inventory) *cobra.Command {
	var o eventsOptions
	c := &cobra.Command{
		Use:   "events",
		Short: "Follow what happens on the host, until interrupted",
		Long: `Follow what happens on the host, until interrupted: what is created, started, healthy or not, exits,
is stopped and is destroyed, policies and block devices that change, and when the daemon was
started; each with its cause.

With --since what has happened since then comes first: the newest 10,000 events are
kept. With --no-follow that is all, and without --since then everything that is kept.

With --output=json every line is an object with the members number, time, event and
name, and where there is one code or signal, out_of_memory, cause, and used: what a
unikernel had used when it ended, an object with user_micros and system_micros of CPU time
and, if known, max_memory_kb. An event has a larger number than those before it. Where
events are not kept any more that had to be told, the only member is missed, their number.`,
		Args: positional(),
		RunE: func(c *cobra.Command, _ []string) error { return eventFollower{d, out, inv}.events(c.Context(), o) },
	}
	flags := c.Flags()
	flags.VarP(one("NAME", messages.ParseName, &o.name), "name", "n",
		"only this one; with ':' at the end, all below that path")
	flags.Var(maybe("TIME", parseTime, &o.since), "since", "begin with the events since a time, such as "+sinceHelp)
	flags.BoolVar(&o.noFollow, "no-follow", false, "end with what has happened already")
	return c
}

// An eventFollower prints events as they come.
type eventFollower struct {
	daemon    *daemon
	out       *printer
	inventory inventory
}

// events prints events until it is interrupted.
func (ef eventFollower) events(ctx context.Context, o eventsOptions) error {
	if o.noFollow && !o.since.OK {
		o.since = messages.Some(time.Unix(0, 0).UTC())
	}
	switch {
	case ef.daemon.destination.csr:
		return errNoRequest
	case ef.daemon.socket == "-":
		return ef.out.showRequest(o.name, messages.EventsSubscribe{Since: o.since})
	}
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt)
	defer stop()
	context.AfterFunc(ctx, stop) // see follow
	var last uint64              // number of the last event
	err := ef.daemon.keepFollowing(ctx, func(ctx context.Context) error { return ef.printEvents(ctx, &o, &last) })
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// printEvents prints events behind the last one, and moves o behind what it has printed.
func (ef eventFollower) printEvents(ctx context.Context, o *eventsOptions, last *uint64) error {
	conn, err := ef.daemon.connectSocket(ctx, messages.AtControl)
	if err != nil {
		return err
	}
	defer conn.Close()
	stream, err := conn.Events(ctx, o.name, o.since)
	if err != nil {
		return err
	}
	for some := false; ; some = true {
		next, err := stream.Next(ctx)
		if err != nil {
			return err
		}
		if _, present := next.(messages.DataPresent); present {
			if o.noFollow {
				ef.inventory.warnNothing(o.name, "event of", !some)
				return nil
			}
			if !o.since.OK {
				o.since = messages.Some(time.Now())
			}
			continue
		}
		if e, ok := next.(messages.DataEvent); ok {
			if e.Number <= *last {
				continue
			}
			*last, o.since = e.Number, messages.Some(e.Event.Time())
		}
		if err := ef.out.print(ef.eventLine(next)); err != nil {
			return err
		}
	}
}

func (ef eventFollower) eventLine(d messages.Data) string {
	if ef.out.format == jsonFormat {
		return eventJSON(d)
	}
	return eventText(d)
}

// An eventObject is an event in JSON. The names of its members do not change.
type eventObject struct {
	Number uint64             `json:"number"`
	Time   string             `json:"time"` // RFC 3339
	Event  messages.EventKind `json:"event"`
	Name   string             `json:"name"`
	Code   *int               `json:"code,omitempty"`
	Signal int                `json:"signal,omitempty"`
	Memory bool               `json:"out_of_memory,omitempty"` // with Signal: the reason
	Cause  string             `json:"cause,omitempty"`
	Usage  *usageObject       `json:"used,omitempty"`
}

type missedObject struct {
	Missed uint64 `json:"missed"`
}

func eventJSON(d messages.Data) string {
	switch d := d.(type) {
	case messages.DataEvent:
		return asciiJSON(toObject(d.NumberedEvent))
	case messages.DataMissed:
		return asciiJSON(missedObject{d.Count})
	}
	return ""
}

func toObject(n messages.NumberedEvent) eventObject {
	o := eventObject{
		Number: n.Number,
		Time:   timeJSON(n.Event.Time()),
		Event:  n.Event.Kind,
		Name:   n.Event.Name.String(),
		Cause:  string(n.Event.Cause),
	}
	switch exit := n.Event.Exit.Value; {
	case !exit.Known:
	case exit.Signal != 0:
		o.Signal, o.Memory = exit.Signal, exit.OutOfMemory
	default:
		o.Code = &exit.Code
	}
	if used := n.Event.Usage; used.OK {
		o.Usage = &usageObject{used.Value.UserMicros, used.Value.SystemMicros, used.Value.MaxMemory}
	}
	return o
}
