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

// status asks the actors what runs, as a client would: whoever answers works,
// and knows. The error says that nobody did before ctx was done.
func status(ctx context.Context, a *actors.Actors) (string, error) {
	c := insider{answer: make(chan messages.Payload, 1)}
	if err := a.Serve(ctx, actors.VMMD, c); err != nil {
		return "", err
	}
	select {
	case answer := <-c.answer:
		infos, ok := answer.(messages.SuccessInfos)
		if !ok {
			return "", fmt.Errorf("cannot find out what runs: %v", answer)
		}
		return fmt.Sprintf("Unikernels that run: %d", len(infos.List)), nil
	default:
		return "", errors.New("cannot find out what runs: there was no answer in time")
	}
}

// An insider is a client without a connection, who asks one question.
type insider struct{ answer chan messages.Payload } // one fits in

func (c insider) Read() (messages.Wire, error) {
	header := messages.Header{Version: messages.CurrentVersion}
	return messages.Wire{Header: header, Payload: messages.UnikernelInfo{Form: 6}}, nil
}

func (c insider) ReadStream([]byte) (int, error) { return 0, io.EOF }

func (c insider) Write(list []messages.Wire) error {
	c.answer <- list[0].Payload
	return nil
}

func (c insider) Peer() messages.Peer {
	return messages.Peer{UID: uint32(os.Getuid()), PID: int32(os.Getpid())}
}

func (c insider) Close() error { return nil }
