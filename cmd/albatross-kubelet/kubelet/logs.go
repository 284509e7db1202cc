package kubelet

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"albatross/cmd/albatross-kubelet/pods"
	"albatross/messages"
)

// logOptions are what a client asks of logs.
type logOptions struct {
	follow, times, previous bool
	tail                    int // lines; -1: all
	limit                   int // bytes; -1: any
	since                   time.Time
}

func readLogOptions(q url.Values, now time.Time) (o logOptions, err error) {
	o.tail, o.limit = -1, -1
	seconds := -1
	for key, to := range map[string]*bool{"follow": &o.follow, "timestamps": &o.times, "previous": &o.previous} {
		if text := q.Get(key); text != "" {
			if *to, err = strconv.ParseBool(text); err != nil {
				return o, refused(http.StatusBadRequest, fmt.Sprintf("%s=%q is neither true nor false", key, text))
			}
		}
	}
	for key, to := range map[string]*int{"tailLines": &o.tail, "limitBytes": &o.limit, "sinceSeconds": &seconds} {
		if text := q.Get(key); text != "" {
			if *to, err = strconv.Atoi(text); err != nil || *to < 0 {
				return o, refused(http.StatusBadRequest, fmt.Sprintf("%s=%q is no number from 0 on", key, text))
			}
		}
	}
	if text := q.Get("sinceTime"); text != "" {
		if o.since, err = time.Parse(time.RFC3339, text); err != nil {
			return o, refused(http.StatusBadRequest, fmt.Sprintf("sinceTime=%q is no time", text))
		}
	}
	if seconds >= 0 {
		o.since = now.Add(-time.Duration(seconds) * time.Second)
	}
	return o, nil
}

// logs answers with the lines of one run of a pod.
func (s *Server) logs(w http.ResponseWriter, r *http.Request) error {
	o, err := readLogOptions(r.URL.Query(), s.Now())
	if err != nil {
		return err
	}
	key := types.NamespacedName{Namespace: r.PathValue("namespace"), Name: r.PathValue("pod")}
	pod, known := s.Pods.Pod(key.Namespace, key.Name)
	if !known || pod.Spec.Containers[0].Name != r.PathValue("container") {
		return refused(http.StatusNotFound, fmt.Sprintf("there is no container %s in a pod %s on this node", r.PathValue("container"), key))
	}
	name, err := pods.NameOf(s.Path, key)
	if err != nil {
		return refused(http.StatusNotFound, err.Error())
	}
	span, err := s.span(r.Context(), pod, name, o.previous)
	if err != nil {
		return err
	}
	span.since = later(span.since, o.since)
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	out := &lineWriter{w: w, flush: http.NewResponseController(w), times: o.times, left: o.limit}
	err = s.copy(r.Context(), name, span, o, out)
	if errors.Is(err, errEnough) {
		return nil
	}
	return err
}

func later(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}

// A span is a part of a console: that of one run.
type span struct {
	since   time.Time
	until   time.Time // zero: it goes on
	started time.Time // of the run, if it goes on
}

// span returns the part of the console that the current run has written, or the one before.
func (s *Server) span(ctx context.Context, pod *corev1.Pod, name messages.Name, previous bool) (span, error) {
	var c corev1.ContainerStatus
	if len(pod.Status.ContainerStatuses) > 0 {
		c = pod.Status.ContainerStatuses[0]
	}
	u, _, err := s.Host.Find(ctx, name)
	if err != nil {
		return span{}, err
	}
	owner, ours := pods.ParseOwner(s.Cluster, u.Owner)
	runs := ours && owner.UID == pod.UID && u.State == messages.StateRunning
	last := c.LastTerminationState.Terminated
	switch {
	case previous && last == nil:
		return span{}, refused(http.StatusBadRequest, fmt.Sprintf("the container %s of the pod %s has not ended before", pod.Spec.Containers[0].Name, pod.Name))
	case previous && runs:
		return span{since: last.StartedAt.Time, until: u.Started}, nil
	case previous:
		return ended(last), nil
	case runs:
		return span{since: u.Started, started: u.Started}, nil
	case c.State.Terminated != nil:
		return ended(c.State.Terminated), nil
	case last != nil: // it waits to be started again: its last run tells why
		return ended(last), nil
	}
	return span{}, refused(http.StatusBadRequest, fmt.Sprintf("the container %s of the pod %s has not been started", pod.Spec.Containers[0].Name, pod.Name))
}

// ended returns the span of a run that has ended. Times in a status are whole seconds.
func ended(t *corev1.ContainerStateTerminated) span {
	return span{since: t.StartedAt.Time, until: t.FinishedAt.Add(time.Second)}
}

// lookPause is how often it is looked whether a run that is followed goes on.
const lookPause = time.Second

// copy writes the lines of a span: those that there are, and if they are followed those that come.
func (s *Server) copy(ctx context.Context, name messages.Name, part span, o logOptions, out *lineWriter) error {
	var place place
	if err := s.past(ctx, name, part, o.tail, &place, out); err != nil || !o.follow || part.started.IsZero() {
		return err
	}
	running, stop := context.WithCancel(ctx)
	defer stop()
	watching := make(chan struct{})
	go func() {
		defer close(watching)
		s.awaitEnd(running, name, part.started)
		stop()
	}()
	place.readAgain()
	err := s.Host.Lines(running, name, later(part.since, place.at), true, func(line messages.DataConsole) error {
		if place.pass(line) {
			return out.print(line)
		}
		return nil
	})
	over := running.Err() != nil && ctx.Err() == nil
	stop()
	<-watching
	if !over {
		return err
	}
	// The run has ended: what it has printed last may not have arrived.
	part.since = later(part.since, place.at)
	return s.past(ctx, name, part, -1, &place, out)
}

// awaitEnd returns when a run does not go on, or ctx is done.
func (s *Server) awaitEnd(ctx context.Context, name messages.Name, started time.Time) {
	tick := time.NewTicker(lookPause)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		u, _, err := s.Host.Find(ctx, name)
		if err == nil && (u.State != messages.StateRunning || !u.Started.Equal(started)) {
			return
		}
	}
}

// past writes the last lines that there are; -1: all.
func (s *Server) past(ctx context.Context, name messages.Name, part span, tail int, place *place, out *lineWriter) error {
	var lines []messages.DataConsole
	place.readAgain()
	err := s.Host.Lines(ctx, name, later(part.since, place.at), false, func(line messages.DataConsole) error {
		if place.pass(line) && (part.until.IsZero() || line.Time.Before(part.until)) {
			lines = append(lines, line) // the daemon keeps a bounded number
		}
		return nil
	})
	if err != nil {
		return err
	}
	if tail >= 0 {
		lines = lines[max(0, len(lines)-tail):]
	}
	for _, line := range lines {
		if err := out.print(line); err != nil {
			return err
		}
	}
	return nil
}

// A place is a place in a console, behind all lines that have passed.
type place struct {
	at    time.Time // of the last line
	count int       // of lines at that time
	again int       // of them, those that have come again since
}

// readAgain says that the console is read from the time of the place on: the lines at that time come
// again.
func (p *place) readAgain() { p.again = p.count }

// pass reports whether a line is behind the place, and moves the place behind it.
func (p *place) pass(line messages.DataConsole) bool {
	switch {
	case line.Time.Before(p.at):
		return false
	case line.Time.Equal(p.at) && p.again > 0:
		p.again--
		return false
	case line.Time.Equal(p.at):
		p.count++
		return true
	}
	p.at, p.count, p.again = line.Time, 1, 0
	return true
}

// errEnough: a client wants no more bytes.
var errEnough = errors.New("that is enough")

// A lineWriter writes lines to a client.
type lineWriter struct {
	w     io.Writer
	flush *http.ResponseController
	times bool
	left  int // bytes that may still be written; -1: any
}

func (l *lineWriter) print(line messages.DataConsole) error {
	var b bytes.Buffer
	if l.times {
		b.WriteString(line.Time.UTC().Format(time.RFC3339Nano) + " ")
	}
	b.WriteString(line.Line + "\n")
	text, enough := b.Bytes(), false
	if l.left >= 0 {
		enough = len(text) >= l.left
		text = text[:min(len(text), l.left)]
		l.left -= len(text)
	}
	if _, err := l.w.Write(text); err != nil {
		return err
	}
	if err := l.flush.Flush(); err != nil {
		return err
	}
	if enough {
		return errEnough
	}
	return nil
}
