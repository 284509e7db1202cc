// Package block carries out one command about one block device, whose file it owns
// meanwhile.
package block

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/asynkron/protoactor-go/actor"

	"albatross/actors/supervise"
	"albatross/messages"
	blockfile "albatross/runtime/block"
	"albatross/runtime/compress"
	"albatross/runtime/failpoint"
	"albatross/runtime/fair"
)

// maxOldDump is the largest block device, in MB, that fits into one message.
const maxOldDump = 256

// A device carries out one command about one block device, and owns the file meanwhile.
// The host makes sure that nobody else uses it.
type device struct {
	Config
	again bool // an incarnation has failed before, and has answered

	state state
	asker *actor.PID // the session
	id    uint64     // of its request

	in      *io.PipeWriter        // the writing end for a client's stream
	parts   []messages.BlockChunk // received, but not written yet
	feeding bool                  // a part is being written
	out     io.ReadCloser         // the contents of a dump
	buffers messages.StreamBuffers
	ready   messages.Option[messages.BlockChunk] // the next part of a dump
	wanted  bool                                 // the session has asked for it
}

// A Config is what the actor of a block device is made with.
type Config struct {
	Name messages.Name
	Run  uint64
	Dir  *blockfile.Dir
	Host *actor.PID
	Work *fair.Workers
	// CheckUnused refuses a device that a process uses that is none of this daemon's.
	CheckUnused func(device messages.Name, what string) error
}

// New returns the constructor of its incarnations.
func New(config Config) func() supervise.Actor {
	again := false
	return func() supervise.Actor {
		b := &device{Config: config, again: again}
		again = true
		return b
	}
}

type state string

const (
	idle    state = "idle"
	working state = "working" // the answer follows
	dumping state = "dumping" // the answer was sent, the contents follow
	done    state = "done"
)

// The messages of a block device's own goroutines.
type (
	worked struct {
		answer messages.Success
		err    error
		gone   bool // the device is not there, or not any more
	}
	formerEnded    struct{}
	memoryReserved struct {
		command messages.BlockSet
		err     error
	}
	fed        struct{}
	dumpOpened struct {
		out        io.ReadCloser
		compressed bool
		err        error
	}
	partRead struct {
		data []byte
		err  error
	}
)

// Discard ends a dump that nobody wants.
func (d dumpOpened) Discard() {
	if d.out != nil {
		_ = d.out.Close()
	}
}

// Started of a second incarnation, the first of which has answered, waits for what that has begun: it
// may still make the device, or remove it.
func (d *device) Started(c *supervise.Context) {
	d.state = idle
	if d.again {
		d.state = done
		c.AfterFormer(formerEnded{})
	}
}

func (d *device) Handle(c *supervise.Context, message any) {
	switch m := message.(type) {
	case messages.BlockDo:
		d.begin(c, m)
	case messages.BlockChunk:
		d.received(c, m)
	case memoryReserved:
		d.memoryReserved(c, m)
	case fed:
		d.fed(c)
	case worked:
		d.worked(c, m)
	case formerEnded:
		dir, name := d.Dir, d.Name
		c.Go(func(context.Context) any { return worked{err: errBlockFailed, gone: !dir.Exists(name)} })
	case dumpOpened:
		d.dumpOpened(c, m)
	case messages.More:
		d.moreAsked(c)
	case partRead:
		d.partRead(c, m)
	case supervise.Terminated: // the client has left
		d.abandon(c, errors.New("the client has left"))
	case supervise.Undeliverable: // to a session that has just ended: Terminated follows
	default:
		c.Unknown(message)
	}
}

// Stopping aborts what is under way. The file keeps its contents.
func (d *device) Stopping(c *supervise.Context, _ bool) {
	d.closePipes(errBlockFailed)
	switch d.state {
	case working:
		c.Send(d.asker, messages.Answer{ID: d.id, Payload: messages.Failure{Text: c.Public(errBlockFailed)}})
	case dumping:
		c.Send(d.asker, messages.BlockChunk{Err: c.Public(errBlockFailed)})
	default:
	}
}

var errBlockFailed = errors.New("internal error: the daemon failed while it used the block device; its log tells more")

func (d *device) closePipes(cause error) {
	if d.in != nil {
		_ = d.in.CloseWithError(cause)
	}
	if d.out != nil {
		_ = d.out.Close()
	}
}

func (d *device) begin(c *supervise.Context, m messages.BlockDo) {
	if d.state != idle { // an incarnation has failed over this message
		return
	}
	d.state = working
	d.asker, d.id = c.Sender(), m.ID
	dir, name, unpacker := d.Dir, d.Name, d.unpacker()
	switch command := m.Command.(type) {
	case messages.BlockAdd:
		d.add(c, m.Size, nil, false)
	case messages.BlockOldAdd:
		d.add(c, m.Size, command.Data.Value, command.Compressed && command.Data.OK)
	case messages.BlockRemove:
		d.workUnused(c, "removed block", "remove block", func(context.Context) error { return removed(dir.Remove(name)) })
	case messages.BlockReserve:
		d.workUnused(c, "reserved block device", "reserve block", func(ctx context.Context) error { return dir.Reserve(ctx, name) })
	case messages.BlockOldSet:
		d.workUnused(c, "set block device", "set block", func(ctx context.Context) error {
			return dataSized(dir.Set(ctx, name, unpacker.contents(ctx, bytes.NewReader(command.Data), command.Compressed)))
		})
	case messages.BlockSet:
		d.awaitMemory(c, command, m.Memory)
	case messages.BlockOldDump:
		d.oldDump(c, command, m)
	case messages.BlockDump:
		d.dump(c, command, m.Memory)
	default:
		d.worked(c, worked{err: fmt.Errorf("internal error: %T is no command about a block device", m.Command)})
	}
}

func (d *device) unpacker() unpacker { return unpacker{d.Work, d.Name.Path.Tenant()} }

// workUnused runs do if no process uses the device, and answers with text when it has
// succeeded. To check that reads files and processes, so the host leaves it to us.
func (d *device) workUnused(c *supervise.Context, text messages.Public, what string, do func(context.Context) error) {
	check, dir, name := d.CheckUnused, d.Dir, d.Name
	c.Go(func(ctx context.Context) any {
		err := check(name, what)
		if err == nil {
			err = do(ctx)
		}
		return worked{messages.SuccessText{Text: text}, err, !dir.Exists(name)}
	})
}

// reader opens the contents of the device for a dump, if no process uses it.
func (c Config) reader(level int) (io.ReadCloser, error) {
	if err := c.CheckUnused(c.Name, "dump block"); err != nil {
		return nil, err
	}
	return c.Dir.Reader(c.Name, level)
}

func (d *device) add(c *supervise.Context, size int, data []byte, compressed bool) {
	dir, name, unpacker := d.Dir, d.Name, d.unpacker()
	c.Go(func(ctx context.Context) any {
		if err := dir.Create(ctx, name, size, unpacker.contents(ctx, bytes.NewReader(data), compressed)); err != nil {
			return worked{err: dataSized(err), gone: true}
		}
		return worked{answer: added(dir, size)}
	})
}

// added returns the answer about a new device of so many MB. So far it takes only the
// room of its contents, and the disk may have too little for the rest.
func added(dir *blockfile.Dir, size int) messages.Success {
	const text = "added block device"
	if room, err := dir.Room(); err == nil && room < int64(size) { // an unknown amount of room is no error: the device exists
		return messages.SuccessText{Text: messages.Publicf("%s, which may not fit on the disk: %d MB are free for its %d MB", text, room, size)}
	}
	return messages.SuccessText{Text: text}
}

// removed ignores that the file of a device is gone already.
func removed(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// dataSized and streamSized report contents that are too large in native's words.
func dataSized(err error) error { return sized(err, "data exceeds block size") }

func streamSized(err error) error { return sized(err, "stream exceeds size") }

func sized(err error, text string) error {
	if errors.Is(err, blockfile.ErrTooLarge) {
		return errors.New(text)
	}
	return err
}

// worked ends every command except a dump.
func (d *device) worked(c *supervise.Context, m worked) {
	switch d.state {
	case working:
	case done: // the former incarnation has answered
		d.report(c, m)
		return
	default:
		return
	}
	d.closePipes(io.ErrClosedPipe)
	d.report(c, m)
	failpoint.Here("block/done-told")
	payload := messages.Payload(m.answer)
	if m.err != nil {
		payload = messages.Failure{Text: c.Public(m.err)}
	}
	c.Send(d.asker, messages.Answer{ID: d.id, Payload: payload})
	failpoint.Here("block/answered")
}

// report tells the host first, so that the client's next command finds the block device free.
func (d *device) report(c *supervise.Context, m worked) {
	d.state = done
	c.Send(d.Host, messages.BlockDone{Name: d.Name, Run: d.Run, Failed: m.err != nil, Gone: m.gone})
}

// abandon ends a command whose client has left.
func (d *device) abandon(c *supervise.Context, cause error) {
	switch d.state {
	case working: // closing makes the goroutine fail
		d.closePipes(cause)
	case dumping:
		d.closePipes(cause)
		d.report(c, worked{err: cause})
	default:
	}
}

// streamMemory is what the buffers of a stream take, in bytes.
const streamMemory = messages.StreamWindow * messages.StreamPart

// awaitMemory asks the session for nothing until there is memory for it.
func (d *device) awaitMemory(c *supervise.Context, command messages.BlockSet, memory messages.Memory) {
	c.Watch(d.asker)
	c.Go(func(context.Context) any { return memoryReserved{command, memory.Reserve(streamMemory)} })
}

func (d *device) memoryReserved(c *supervise.Context, m memoryReserved) {
	if m.err != nil {
		d.worked(c, worked{err: fmt.Errorf("cannot set block device %s: %w", d.Name, m.err)})
		return
	}
	d.set(c, m.command)
}

// set writes what the session streams. The old contents stay until all of it is on disk.
func (d *device) set(c *supervise.Context, command messages.BlockSet) {
	r, w := io.Pipe()
	d.in = w
	dir, name, unpacker := d.Dir, d.Name, d.unpacker()
	d.workUnused(c, "set block device", "set block", func(ctx context.Context) error {
		defer func() { _ = r.Close() }()
		return streamSized(dir.Set(ctx, name, unpacker.contents(ctx, r, command.Compressed)))
	})
	for range messages.StreamWindow {
		c.Request(d.asker, messages.More{})
	}
}

func (d *device) received(c *supervise.Context, m messages.BlockChunk) {
	if d.state != working || d.in == nil {
		return // what the client still streams after the answer
	}
	failpoint.Here("block/part-received")
	d.parts = append(d.parts, m)
	d.feed(c)
}

// feed passes the next part to the goroutine that writes the file.
func (d *device) feed(c *supervise.Context) {
	if d.feeding || len(d.parts) == 0 {
		return
	}
	d.feeding = true
	part, in := d.parts[0], d.in
	d.parts = d.parts[1:]
	c.Go(func(context.Context) any {
		switch _, err := in.Write(part.Data); {
		case err != nil: // the reader has stopped: the answer says why
		case part.Err != "":
			_ = in.CloseWithError(fmt.Errorf("the stream was cut off: %s", part.Err))
		case part.Last:
			_ = in.Close()
		}
		return fed{}
	})
}

func (d *device) fed(c *supervise.Context) {
	d.feeding = false
	if d.state == working {
		c.Request(d.asker, messages.More{})
		d.feed(c)
	}
}

// oldDump answers with all contents.
func (d *device) oldDump(c *supervise.Context, command messages.BlockOldDump, m messages.BlockDo) {
	if m.Size > maxOldDump {
		d.worked(c, worked{err: fmt.Errorf(
			"cannot tell a block device of %d MB in one message, but %d at most: dump it as a stream", m.Size, maxOldDump)})
		return
	}
	config, most := d.Config, compress.Bound(int64(m.Size)<<20, command.Level)
	c.Go(func(context.Context) any {
		out, err := config.reader(command.Level)
		if err != nil {
			return worked{err: err}
		}
		defer func() { _ = out.Close() }()
		if err := m.Memory.Reserve(most); err != nil {
			return worked{err: fmt.Errorf("cannot dump block device %s: %w; it can also be dumped as a stream", config.Name, err)}
		}
		data, err := compress.ReadAll(out, most)
		return worked{answer: messages.SuccessOldBlock{Compressed: command.Level > 0, Data: data}, err: err}
	})
}

// dump answers when the file is open; then the session asks for the contents.
func (d *device) dump(c *supervise.Context, command messages.BlockDump, memory messages.Memory) {
	c.Watch(d.asker)
	config := d.Config
	c.Go(func(context.Context) any {
		out, err := config.reader(command.Level)
		if err != nil {
			return dumpOpened{err: err}
		}
		if err := memory.Reserve(streamMemory); err != nil {
			return dumpOpened{err: errors.Join(fmt.Errorf("cannot dump block device %s: %w", config.Name, err), out.Close())}
		}
		return dumpOpened{out: out, compressed: command.Level > 0}
	})
}

func (d *device) dumpOpened(c *supervise.Context, m dumpOpened) {
	if m.err != nil {
		d.worked(c, worked{err: m.err})
		return
	}
	d.out = m.out
	d.state = dumping
	d.readAhead(c)
	c.Request(d.asker, messages.Answer{ID: d.id, Payload: messages.SuccessDump{Compressed: m.compressed}})
	failpoint.Here("block/dump-begun")
}

func (d *device) moreAsked(c *supervise.Context) {
	d.wanted = true
	d.offer(c)
}

// readAhead reads the next part while the former one is being sent. Two buffers are
// enough: the credit for this part returns the former one.
func (d *device) readAhead(c *supervise.Context) {
	out, part, turns, tenant := d.out, d.buffers.Next(), d.Work, d.Name.Path.Tenant()
	c.Go(func(ctx context.Context) any {
		n := 0
		var err error
		if turn := turns.Do(ctx, tenant, func() { n, err = io.ReadFull(out, part) }); turn != nil {
			err = turn
		}
		return partRead{part[:n], err}
	})
}

func (d *device) partRead(c *supervise.Context, m partRead) {
	part := messages.BlockChunk{Data: m.data}
	switch {
	case m.err == io.EOF, m.err == io.ErrUnexpectedEOF:
		part.Last = true
	case m.err != nil:
		part = messages.BlockChunk{Err: c.Public(m.err)}
	}
	d.ready = messages.Some(part)
	d.offer(c)
}

// offer sends the next part, if it was read and the session has asked for it.
func (d *device) offer(c *supervise.Context) {
	if d.state != dumping || !d.wanted || !d.ready.OK {
		return
	}
	part := d.ready.Value
	d.wanted, d.ready = false, messages.Option[messages.BlockChunk]{}
	if part.Last || part.Err != "" {
		d.closePipes(nil)
		var err error
		if part.Err != "" {
			err = errors.New(string(part.Err))
		}
		d.report(c, worked{err: err})
	} else {
		d.readAhead(c)
	}
	c.Send(d.asker, part)
	failpoint.Here("block/part-sent")
}
