package client

import (
	"context"
	"io"
	"net"
	"sync"
	"time"

	"albatross/messages"
	"albatross/sockets/wire"
)

// Upload sends a command, followed by contents as a stream, and waits for the answer. It
// closes contents, which must end a Read of it.
//
// The daemon may refuse at any time; then the rest is not sent. If contents cannot be
// read, Upload returns that error as it is, and does not mark the end of the stream.
func (c *Conn) Upload(ctx context.Context, name messages.Name, command messages.Command, contents io.ReadCloser) (messages.Success, error) {
	frame, err := c.question(name, command)
	if err != nil {
		contents.Close()
		return nil, err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	u := upload{
		conn:     c,
		contents: contents,
		patience: time.AfterFunc(AnswerTimeout, func() { cancel(errStalled) }),
		answered: make(chan struct{}),
	}
	defer u.patience.Stop()
	err = c.during(ctx, func() error { return u.exchange(frame) })
	if u.unread != nil {
		return nil, u.unread
	}
	if err != nil {
		return nil, err
	}
	success, err := c.judge(u.answer)
	if err == nil && !u.complete {
		return nil, c.failed(errEarly)
	}
	return success, err
}

// An upload is a command that is being sent with a stream. The caller of Upload sends
// while a goroutine waits for the answer: each alone could wait for a daemon that waits
// for the other.
type upload struct {
	conn     *Conn
	contents io.ReadCloser
	patience *time.Timer // ends an upload that makes no progress

	// Set by sendContents.
	complete bool  // all contents have been sent
	unread   error // why they could not be read

	// Set by readAnswer, before it closes answered.
	answer   messages.Wire
	err      error
	answered chan struct{}
}

// exchange sends everything and reads the answer. It ignores a failed write: the answer
// says why, and a missing answer is an error, too.
func (u *upload) exchange(frame net.Buffers) error {
	var reading sync.WaitGroup
	reading.Go(u.readAnswer)
	if _, err := frame.WriteTo(u.conn.conn); err == nil {
		u.sendContents()
	}
	reading.Wait()
	return u.err
}

// readAnswer waits for the answer, and ends the sending of what nobody will read.
func (u *upload) readAnswer() {
	u.answer, u.err = u.conn.readAnswer()
	close(u.answered)
	u.conn.conn.SetWriteDeadline(time.Now())
	u.contents.Close()
}

// sendContents sends chunk after chunk. It ends early if the daemon stops reading; the
// answer contains the reason.
func (u *upload) sendContents() {
	var chunk wire.ChunkBuffer
	for {
		u.patience.Stop() // contents may come from a slow source
		n, err := fill(u.contents, chunk.Room())
		u.patience.Reset(AnswerTimeout)
		if err != nil && err != io.EOF {
			u.giveUp(err)
			return
		}
		if chunk.Write(u.conn.conn, n) != nil {
			return
		}
		if err == io.EOF {
			break
		}
	}
	u.complete = true
	u.patience.Reset(FlushTimeout)
	// A daemon that does not read the end mark does not need it.
	_ = wire.WriteEnd(u.conn.conn)
}

// giveUp ends an upload whose contents cannot be read, without marking the end, so that
// the part is not taken for the whole.
func (u *upload) giveUp(err error) {
	select {
	case <-u.answered: // they have been closed because of that
	default:
		u.unread = err
		u.conn.abort()
	}
}

// fill reads as much as fits into b. It returns io.EOF at the end only.
func fill(r io.Reader, b []byte) (n int, err error) {
	for n < len(b) && err == nil {
		var more int
		more, err = r.Read(b[n:])
		n += more
	}
	return n, err
}
