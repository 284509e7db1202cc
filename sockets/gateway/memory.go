package gateway

import "golang.org/x/sync/semaphore"

// free is what a command may take without asking: almost all take less.
const free = 64 << 10

// step is how much more has to arrive within a deadline.
const step = 1 << 20

// Memory is what all commands that are being received or carried out may take
// together.
//
// Commands that wait for each other's memory would wait for ever. So when there
// is none left, one at a time may take what it needs all the same: it ends, and
// gives back what it had before. What is taken is never more than the memory and
// three times half the largest command.
//
// It is taken for buffers before they are made, so that what is counted is what is
// held. What a decoded command has beside its buffer is bounded in package wire.
type Memory struct {
	left *semaphore.Weighted
	turn *semaphore.Weighted // held by whoever asks, and by the one that takes more
}

// NewMemory allows for so many bytes.
func NewMemory(bytes int64) *Memory {
	return &Memory{left: semaphore.NewWeighted(bytes), turn: semaphore.NewWeighted(1)}
}
