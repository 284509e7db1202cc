package tender

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"albatross/runtime/proc"
)

// settlePoll is the polling interval for a process that is about to end, or to exec: both
// take no longer than that.
const settlePoll = time.Millisecond

// Settle is for a process that a former daemon has launched and may have released. It
// returns nil if the process is a tender. A process that waits at a gate that nobody will
// open is ended, since it would look like a tender that ends by itself; the error is then
// proc.ErrGone, as if it had ended before. So is one that has passed its gate, if its guest
// has not begun. Launcher is that of the Command.
func Settle(launcher []string, h *proc.Handle) error {
	waits := []byte(strings.Join(launcher, "\x00") + "\x00")
	for end := time.Now().Add(killTimeout); ; time.Sleep(settlePoll) {
		line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", h.Process().PID))
		switch {
		case h.Ended(): // asked afterwards, since the pid may belong to another process now
			return reap(h)
		case err != nil:
			return fmt.Errorf("cannot find out what process %d is: %w", h.Process().PID, err)
		case time.Now().After(end):
			return fmt.Errorf("cannot end process %d", h.Process().PID)
		case len(line) == 0: // it is becoming the tender
		case !bytes.HasPrefix(line, waits):
			return nil
		default:
			if err := h.Signal(unix.SIGKILL); err != nil && !errors.Is(err, proc.ErrGone) {
				return err
			}
		}
	}
}

// reap waits until a process that has ended is reaped.
func reap(h *proc.Handle) error {
	ctx, cancel := context.WithTimeout(context.Background(), killTimeout)
	defer cancel()
	if _, err := h.Wait(ctx); err != nil {
		return fmt.Errorf("cannot end process %d: %w", h.Process().PID, err)
	}
	return fmt.Errorf("process %d: %w", h.Process().PID, proc.ErrGone)
}
