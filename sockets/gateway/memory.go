package gateway

import (
	"context"

	"golang.org/x/sync/semaphore"

	"albatross/messages"
)

// free is what a command or an answer may use without a reservation: almost all use less.
const free = 64 << 10

// step is how much more must arrive within a deadline.
const step = 1 << 20

// Memory bounds what all commands that are being received or carried out, and their
// answers, use together.
//
// Commands that wait for each other's memory would wait for ever. So when none is left,
// one at a time may exceed the bound: it ends, and frees what it has used. The total is
// never more than the bound plus one and a half times the largest command.
//
// An answer never exceeds the bound. While it waits for memory, it holds none.
//
// Memory is reserved for buffers before they are made. Package wire bounds what a decoded
// command uses besides its buffer.
type Memory struct {
	bytes int64
	left  *semaphore.Weighted
	turn  *semaphore.Weighted // held by whoever asks, and by the one that exceeds the bound
}

// NewMemory returns a Memory of so many bytes.
func NewMemory(bytes int64) *Memory {
	return &Memory{bytes: bytes, left: semaphore.NewWeighted(bytes), turn: semaphore.NewWeighted(1)}
}

// The texts for a client whose answer gets no memory.
const (
	tooLarge messages.Public = "the answer is larger than all memory that the daemon has for commands and answers"
	noMemory messages.Public = "commands and answers to others take all memory of the daemon: try again later"
)

// take reserves memory for an answer. It returns why there is none.
func (m *Memory) take(ctx context.Context, bytes int64) (refusal messages.Public) {
	switch {
	case bytes > m.bytes:
		return tooLarge
	case m.left.Acquire(ctx, bytes) != nil:
		return noMemory
	}
	return ""
}
