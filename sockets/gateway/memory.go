package gateway

import "golang.org/x/sync/semaphore"

// free is what a command may use without a reservation: almost all use less.
const free = 64 << 10

// step is how much more must arrive within a deadline.
const step = 1 << 20

// Memory bounds what all commands that are being received or carried out use together.
//
// Commands that wait for each other's memory would wait for ever. So when none is left,
// one at a time may exceed the bound: it ends, and frees what it has used. The total is
// never more than the bound plus one and a half times the largest command.
//
// Memory is reserved for buffers before they are made. Package wire bounds what a decoded
// command uses besides its buffer.
type Memory struct {
	left *semaphore.Weighted
	turn *semaphore.Weighted // held by whoever asks, and by the one that exceeds the bound
}

// NewMemory returns a Memory of so many bytes.
func NewMemory(bytes int64) *Memory {
	return &Memory{left: semaphore.NewWeighted(bytes), turn: semaphore.NewWeighted(1)}
}
