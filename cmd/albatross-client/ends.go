package main

import (
	"fmt"
	"strings"
	"time"

	"albatross/messages"
)

func endText(n messages.NamedEnd) string {
	text := ""
	if n.End != (messages.End{}) || !n.Wait.OK && n.StoppedMillis == 0 {
		text = fmt.Sprintf("%v %s restarts %d", n.End.Exit, endTime(n.End), n.End.Restarts)
		if n.End.Usage.OK {
			text += " " + n.End.Usage.Value.String()
		}
	}
	if n.Wait.OK {
		text = strings.TrimPrefix(text+", "+waitText(n.Wait.Value), ", ")
	}
	if n.StoppedMillis != 0 {
		text = strings.TrimPrefix(text+", "+stoppedText(n), ", ")
	}
	return nameText(n.Name) + ": " + text
}

// endTime returns when a run ended, as far as it is known.
func endTime(e messages.End) string {
	switch {
	case e.AtMillis != 0:
		return "at " + timeText(time.UnixMilli(e.AtMillis))
	case e.FoundMillis != 0:
		return "before " + timeText(time.UnixMilli(e.FoundMillis))
	}
	return "at unknown time"
}

func waitText(w messages.Wait) string {
	text := "waits to be started since " + timeText(w.Since)
	if w.Cause != "" {
		text += ": " + escape(string(w.Cause))
	}
	return text
}

// stoppedText says since when a unikernel is stopped.
func stoppedText(n messages.NamedEnd) string {
	return fmt.Sprintf("is stopped since %s", timeText(time.UnixMilli(n.StoppedMillis)))
}
