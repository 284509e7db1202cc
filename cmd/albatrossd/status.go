package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"albatross/actors"
	"albatross/messages"
)

// status asks the actors what runs, as a client would: an answer shows that they work.
// The error says that there was none before ctx was done.
func status(ctx context.Context, a *actors.Actors) (string, error) {
	infos, err := ask[messages.SuccessInfos](ctx, a, messages.AtVMMD, messages.UnikernelInfo{Form: 6})
	if err != nil {
		return "", err
	}
	ends, err := ask[messages.SuccessEnds](ctx, a, messages.AtControl, messages.EndList{})
	if err != nil {
		return "", err
	}
	return statusText(infos.List, ends.List), nil
}

// statusText counts what runs. The list for native clients also contains what waits to be
// started again.
func statusText(infos []messages.NamedInfo, ends []messages.NamedEnd) string {
	waits, stopped := map[messages.Name]bool{}, 0
	for _, e := range ends {
		if e.Wait.OK {
			waits[e.Name] = true
		}
		if e.StoppedMillis != 0 {
			stopped++
		}
	}
	run := 0
	for _, i := range infos {
		if !waits[i.Name] {
			run++
		}
	}
	text := fmt.Sprintf("Unikernels that run: %d", run)
	if len(waits) > 0 {
		text += fmt.Sprintf(", that wait to be started: %d", len(waits))
	}
	if stopped > 0 {
		text += fmt.Sprintf(", that are stopped: %d", stopped)
	}
	return text
}

// ask has a whole conversation with the actors and returns the answer.
func ask[A messages.Payload](ctx context.Context, a *actors.Actors, socket messages.Endpoint, question messages.Command) (answer A, err error) {
	c := insider{question: question, answer: make(chan messages.Payload, 1)}
	if err := a.Serve(ctx, socket, c); err != nil {
		return answer, err
	}
	select {
	case given := <-c.answer:
		answer, ok := given.(A)
		if !ok {
			return answer, fmt.Errorf("cannot find out what runs: %v", given)
		}
		return answer, nil
	default:
		return answer, errors.New("cannot find out what runs: there was no answer in time")
	}
}

// An insider is a client without a connection, which asks one question.
type insider struct {
	question messages.Command
	answer   chan messages.Payload // has room for one
}

func (i insider) Read() (messages.Wire, error) {
	header := messages.Header{Version: messages.CurrentVersion}
	return messages.Wire{Header: header, Payload: i.question}, nil
}

func (i insider) ReadStream([]byte) (int, error) { return 0, io.EOF }

func (i insider) Write(list []messages.Wire) error {
	i.answer <- list[0].Payload
	return nil
}

func (i insider) Peer() messages.Peer {
	return messages.Peer{UID: uint32(os.Getuid()), PID: int32(os.Getpid())}
}

// Reserve allows everything: the question is ours.
func (i insider) Reserve(int64) error { return nil }

func (i insider) Close() error { return nil }
