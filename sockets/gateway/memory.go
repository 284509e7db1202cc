package gateway

import (
	"context"
	"fmt"
	"io"
	"time"

	"golang.org/x/sync/semaphore"
)

// free is what a command may take without asking: almost all take less.
const free = 64 << 10

// step is how much more is asked for at once. It is asked for only when the
// bytes before have arrived, so that announcing costs others nothing.
const step = 1 << 20

// memoryWait is how long a large command waits for others to end.
const memoryWait = 30 * time.Second

// Memory is what all commands that are being received or carried out may take
// together.
type Memory struct {
	bytes int64
	left  *semaphore.Weighted
}

// NewMemory allows for so many bytes.
func NewMemory(bytes int64) *Memory {
	return &Memory{bytes: bytes, left: semaphore.NewWeighted(bytes)}
}

// metered counts what is read for one command, and has it paid for.
type metered struct {
	ctx    context.Context // of the connection
	from   io.Reader
	memory *Memory
	read   int64 // bytes of this command
	paid   int64
}

func (m *metered) Read(b []byte) (int, error) {
	if m.read == free+m.paid {
		if err := m.pay(); err != nil {
			return 0, err
		}
	}
	n, err := m.from.Read(b[:min(int64(len(b)), free+m.paid-m.read)])
	m.read += int64(n)
	return n, err
}

func (m *metered) pay() error {
	ctx, cancel := context.WithTimeout(m.ctx, memoryWait)
	defer cancel()
	if err := m.memory.left.Acquire(ctx, step); err != nil {
		return fmt.Errorf("cannot receive more: commands take %d MB already", m.memory.bytes>>20)
	}
	m.paid += step
	return nil
}

// release gives back what the command has taken.
func (m *metered) release() {
	m.memory.left.Release(m.paid)
	m.paid, m.read = 0, 0
}
