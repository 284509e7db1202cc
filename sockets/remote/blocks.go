package remote

import (
	"encoding/binary"
	"fmt"
	"io"
	"time"

	"albatross/messages"
	"albatross/sockets/client"
	"albatross/sockets/wire"
)

// set passes on the contents of a block device, and meanwhile waits for the answer: the
// daemon may refuse at any time.
func (e *exchange) set() error {
	if err := e.ask(e.setCommand()); err != nil {
		return err
	}
	// The deadlines of the client's stream bound the daemon's, too.
	if err := e.daemon.SetDeadline(time.Time{}); err != nil {
		return fmt.Errorf("cannot ask the daemon: %w", err)
	}
	passed := make(chan error, 1)
	go func() { passed <- e.passOn() }()
	err := e.relay()
	// The daemon does not need the rest of the stream.
	_ = e.daemon.Close()
	stop := e.peer.hurry()
	cut := <-passed
	stop()
	e.drained = true
	if err != nil && cut != nil {
		return cut
	}
	return err
}

// setCommand returns the command that the contents follow.
func (e *exchange) setCommand() messages.Command {
	if old, ok := e.request.Command.(messages.BlockOldSet); ok {
		return messages.BlockSet{Compressed: old.Compressed}
	}
	return e.request.Command
}

// frameHead is the size of a chunk's length, before its contents.
const frameHead = 4

// passOn passes on the stream up to its end. If the daemon stops reading, passOn reads
// the rest all the same. The error is the client's.
func (e *exchange) passOn() error {
	chunk := make([]byte, frameHead+recordSize)
	var unwanted error // why the daemon stopped reading
	for {
		n, err := e.stream.Read(chunk[frameHead:])
		if n > 0 && unwanted == nil {
			binary.BigEndian.PutUint32(chunk, uint32(n))
			_, unwanted = e.daemon.Write(chunk[:frameHead+n])
		}
		switch {
		case err == io.EOF:
			// If this fails, reading the answer fails, too.
			_ = e.daemon.SetDeadline(time.Now().Add(client.FlushTimeout))
			_ = wire.WriteEnd(e.daemon)
			return nil
		case err != nil:
			// Without an end mark, the daemon sees that something is missing.
			_ = e.daemon.Close()
			return fmt.Errorf("cannot receive the contents: %w", err)
		}
	}
}
