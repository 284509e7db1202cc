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

// Upload sends a command and, as the stream behind it, what contents yields; then
// it waits for the answer. Contents is closed, which must end a Read of it.
//
// The daemon may refuse at any time. The rest is not sent then, since nobody is
// going to read it. Where contents cannot be read, that error is returned as it
// is, and the daemon is not told that the stream has come to its end.
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

// An upload is a command that is being sent with a stream behind it. Whoever
// calls Upload sends, while a goroutine waits for the answer: each of them alone
// would wait for a daemon that waits for the other.
type upload struct {
	conn     *Conn
	contents io.ReadCloser
	patience *time.Timer // ends an upload of which nothing is taken

	// Set by sendContents.
	complete bool  // all contents have been sent
	unread   error // why they could not be read

	// Set by readAnswer, before answered is closed.
	answer   messages.Wire
	err      error
	answered chan struct{}
}

// exchange sends everything and reads the answer. That a write fails is not told:
// the answer says why nobody reads, and where there is none, that is told.
func (u *upload) exchange(frame net.Buffers) error {
	var reading sync.WaitGroup
	reading.Go(u.readAnswer)
	if _, err := frame.WriteTo(u.conn.conn); err == nil {
		u.sendContents()
	}
	reading.Wait()
	return u.err
}

// readAnswer waits for the answer, and ends the sending of what nobody is going
// to read any more.
func (u *upload) readAnswer() {
	u.answer, u.err = u.conn.readAnswer()
	close(u.answered)
	u.conn.conn.SetWriteDeadline(time.Now())
	u.contents.Close()
}

// sendContents sends chunk after chunk. It ends early where the daemon does not
// listen any more; if that is for a reason, the reason is in the answer.
func (u *upload) sendContents() {
	chunk := make([]byte, wire.ChunkSize)
	for {
		u.patience.Stop() // contents may come from something slow
		n, err := fill(u.contents, chunk)
		u.patience.Reset(AnswerTimeout)
		if err != nil && err != io.EOF {
			u.giveUp(err)
			return
		}
		if wire.WriteChunk(u.conn.conn, chunk[:n]) != nil {
			return
		}
		if err == io.EOF {
			break
		}
	}
	u.complete = true
	u.patience.Reset(FlushTimeout)
	// A daemon that does not read the end mark has no need of it.
	_ = wire.WriteEnd(u.conn.conn)
}

// giveUp ends an upload whose contents cannot be read. A stream without its end
// is not taken for all of it.
func (u *upload) giveUp(err error) {
	select {
	case <-u.answered: // they have been closed because of that
	default:
		u.unread = err
		u.conn.Close()
	}
}

// fill reads as much as b has room for. The error is io.EOF at the end only.
func fill(r io.Reader, b []byte) (n int, err error) {
	for n < len(b) && err == nil {
		var more int
		more, err = r.Read(b[n:])
		n += more
	}
	return n, err
}
