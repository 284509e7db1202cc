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

// set passes on the contents of a block device, while the answer is waited for:
// the daemon may say no at any time.
func (x *exchange) set() error {
	if err := x.ask(x.setCommand()); err != nil {
		return err
	}
	// The client has its own time for each part, and the daemon follows it.
	if err := x.daemon.SetDeadline(time.Time{}); err != nil {
		return fmt.Errorf("cannot ask the daemon: %w", err)
	}
	passed := make(chan error, 1)
	go func() { passed <- x.passOn() }()
	err := x.relay()
	// Whatever is left of the stream is of no use to the daemon.
	_ = x.daemon.Close()
	stop := x.peer.hurry()
	cut := <-passed
	stop()
	x.drained = true
	if err != nil && cut != nil {
		return cut
	}
	return err
}

// setCommand returns the command whose contents follow.
func (x *exchange) setCommand() messages.Command {
	if old, ok := x.request.Command.(messages.BlockOldSet); ok {
		return messages.BlockSet{Compressed: old.Compressed}
	}
	return x.request.Command
}

// frameHead is the length of a chunk, before its contents.
const frameHead = 4

// passOn passes on the stream up to its end. Where the daemon takes no more, the
// rest is read all the same. The error is the client's.
func (x *exchange) passOn() error {
	chunk := make([]byte, frameHead+recordSize)
	var unwanted error // why nobody takes it
	for {
		n, err := x.stream.Read(chunk[frameHead:])
		if n > 0 && unwanted == nil {
			binary.BigEndian.PutUint32(chunk, uint32(n))
			_, unwanted = x.daemon.Write(chunk[:frameHead+n])
		}
		switch {
		case err == io.EOF:
			// That it fails is seen where the answer is read.
			_ = x.daemon.SetDeadline(time.Now().Add(client.FlushTimeout))
			_ = wire.WriteEnd(x.daemon)
			return nil
		case err != nil:
			// The daemon sees that this is not the end.
			_ = x.daemon.Close()
			return fmt.Errorf("cannot receive the contents: %w", err)
		}
	}
}
