package remote

import (
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"albatross/messages"
	"albatross/sockets/client"
	"albatross/sockets/wire"
)

// imageTimeout bounds the time in which the daemon reads an image from the spool.
const imageTimeout = 10 * time.Minute

// create receives an image, and inserts it into the command.
func (e *exchange) create() error {
	image, err := e.server.config.Spool.take(e.stream)
	if errors.As(err, &refusal{}) {
		return err
	}
	e.drained = true
	if err != nil {
		return fmt.Errorf("cannot receive the image: %w", err)
	}
	sent := e.sendImage(image)
	if err := errors.Join(sent, image.Close()); err != nil {
		return err
	}
	return e.relay()
}

func (e *exchange) sendImage(image *spooled) error {
	pieces, native, err := e.preface(e.request.Command)
	if err != nil {
		return refusal{err}
	}
	before, behind, err := wire.Around(messages.Wire{Header: e.header(e.request.Name), Payload: native}, int(image.size))
	if err != nil {
		return refusal{err}
	}
	if err := e.daemon.SetDeadline(time.Now().Add(imageTimeout)); err != nil {
		return fmt.Errorf("cannot ask the daemon: %w", err)
	}
	// A daemon that refuses may close before it has read all of it: so the answer
	// decides.
	pieces = append(pieces, before)
	if _, err := (*net.Buffers)(&pieces).WriteTo(e.daemon); err != nil {
		return nil
	}
	if n, err := io.Copy(e.daemon, image.File); err != nil || n != image.size {
		return nil
	}
	if _, err := e.daemon.Write(behind); err != nil {
		return nil
	}
	return e.daemon.SetDeadline(time.Now().Add(client.AnswerTimeout))
}
