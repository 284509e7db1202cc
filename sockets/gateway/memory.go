package gateway

import "golang.org/x/sync/semaphore"

// free is what a command may take without asking: almost all take less.
const free = 64 << 10

// step is how much more is asked for at once. It is asked for only when the
// bytes before have arrived, so that announcing costs others nothing.
const step = 1 << 20

// Memory is what all commands that are being received or carried out may take
// together.
//
// Commands that wait for each other's memory would wait for ever. So when there
// is none left, one at a time may take what it needs all the same: it ends, and
// gives back what it had before. What is taken is never more than the memory
// and the largest command.
type Memory struct {
	left *semaphore.Weighted
	turn *semaphore.Weighted // held by whoever asks, and by the one that takes more
}

// NewMemory allows for so many bytes.
func NewMemory(bytes int64) *Memory {
	return &Memory{left: semaphore.NewWeighted(bytes), turn: semaphore.NewWeighted(1)}
}
