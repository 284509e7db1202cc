package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"strings"
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

func (a *app) eventsCommand() *cobra.Command {
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
		RunE: func(c *cobra.Command, _ []string) error { return a.events(c.Context(), o) },
	}
	flags := c.Flags()
	flags.VarP(one("NAME", messages.ParseName, &o.name), "name", "n",
		"only this one; with ':' at the end, all below that path")
	flags.Var(maybe("TIME", parseTime, &o.since), "since", "begin with the events since a time, such as "+sinceHelp)
	flags.BoolVar(&o.noFollow, "no-follow", false, "end with what has happened already")
	return c
}

// events prints events until it is interrupted.
func (a *app) events(ctx context.Context, o eventsOptions) error {
	if o.noFollow && !o.since.OK {
		o.since = messages.Some(time.Unix(0, 0).UTC())
	}
	switch {
	case a.destination.csr:
		return errNoRequest
	case a.socket == "-":
		return a.showRequest(o.name, messages.EventsSubscribe{Since: o.since})
	}
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt)
	defer stop()
	context.AfterFunc(ctx, stop) // see follow
	var last uint64              // number of the last event
	err := a.keepFollowing(ctx, func(ctx context.Context) error { return a.printEvents(ctx, &o, &last) })
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// printEvents prints events behind the last one, and moves o behind what it has printed.
func (a *app) printEvents(ctx context.Context, o *eventsOptions, last *uint64) error {
	conn, err := a.connectSocket(ctx, messages.AtControl)
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
				a.warnNothing(o.name, "event of", !some)
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
		if err := a.print(a.eventLine(next)); err != nil {
			return err
		}
	}
}

func (a *app) eventLine(d messages.Data) string {
	if a.format == jsonFormat {
		return eventJSON(d)
	}
	return eventText(d)
}

// eventText returns a line with columns, which are aligned unless names are long.
func eventText(d messages.Data) string {
	switch d := d.(type) {
	case messages.DataEvent:
		e := d.Event
		line := fmt.Sprintf("%s  %-14s  %-20s  %s", timeText(e.Time()), escape(string(e.Kind)), e.Name, eventDetail(e))
		return strings.TrimRight(line, " ")
	case messages.DataMissed:
		return fmt.Sprintf("[%d events missed: they are not kept any more]", d.Count)
	}
	return ""
}

// eventDetail returns how a unikernel ended, the cause, and what it has used.
func eventDetail(e messages.Event) string {
	if !e.Exit.OK {
		return escape(string(e.Cause))
	}
	text := e.Exit.Value.String()
	if e.Cause != "" {
		text += ": " + escape(string(e.Cause))
	}
	if e.Usage.OK {
		text += " (" + e.Usage.Value.String() + ")"
	}
	return text
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

// A usageObject is what a unikernel had used when it ended.
type usageObject struct {
	UserMicros   int64 `json:"user_micros"`
	SystemMicros int64 `json:"system_micros"`
	MaxMemory    int64 `json:"max_memory_kb,omitempty"` // absent: unknown
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
