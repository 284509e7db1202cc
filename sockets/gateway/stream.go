package gateway

import (
	"errors"
	"io"
	"net"
)

// ReadStream waits for a part of the stream that follows a command, and reads it straight
// into b, so that the length of the stream costs no memory. It returns io.EOF at the end,
// and io.ErrUnexpectedEOF if the client has left before; after any other error nothing
// more can be read.
func (c *Conn) ReadStream(b []byte) (n int, err error) {
	c.reading.Lock()
	defer c.reading.Unlock()
	if err = c.in.hurry(); err == nil {
		n, err = c.stream.Read(b)
	}
	if errors.Is(err, net.ErrClosed) {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}
