package main

import (
	"fmt"
	"strings"

	"albatross/messages"
)

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

func eventLine(e messages.Event) string {
	return fmt.Sprintf("%s: %s", escape(string(e.Kind)), eventDetail(e))
}
