package gateway

import (
	"errors"
	"io"
	"net"
)

// ReadStream waits for some of the stream that follows a command. It is read
// straight into b: however long it is, it costs no memory here. The error is
// io.EOF at its end, and io.ErrUnexpectedEOF where the client has left before;
// nothing more can be read after another one.
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
