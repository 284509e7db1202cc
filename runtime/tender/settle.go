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

// settlePoll is how often to look at a process that is about to end, or to become
// another program: both take no longer than that.
const settlePoll = time.Millisecond

// Settle is for a process of which it is not known whether the daemon that has
// launched it has released it before it died. It returns nil where that is a
// tender. One that waits at a gate that nobody will open any more is ended, for
// it would seem to be a tender that ends by itself; the error is proc.ErrGone
// then, or where it has ended before. Launcher is that of the Command.
func Settle(launcher []string, h *proc.Handle) error {
	waits := []byte(strings.Join(launcher, "\x00") + "\x00")
	for end := time.Now().Add(killTimeout); ; time.Sleep(settlePoll) {
		line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", h.Process().PID))
		switch {
		case h.Ended(): // asked behind that, for now the pid may be somebody else's
			return reap(h)
		case err != nil:
			return fmt.Errorf("cannot find out what process %d is: %w", h.Process().PID, err)
		case time.Now().After(end):
			return fmt.Errorf("cannot end process %d", h.Process().PID)
		case len(line) == 0: // it is in the middle of becoming the tender
		case !bytes.HasPrefix(line, waits):
			return nil
		default:
			if err := h.Signal(unix.SIGKILL); err != nil && !errors.Is(err, proc.ErrGone) {
				return err
			}
		}
	}
}

// reap waits until a process that has ended is gone.
func reap(h *proc.Handle) error {
	ctx, cancel := context.WithTimeout(context.Background(), killTimeout)
	defer cancel()
	if _, err := h.Wait(ctx); err != nil {
		return fmt.Errorf("cannot end process %d: %w", h.Process().PID, err)
	}
	return fmt.Errorf("process %d: %w", h.Process().PID, proc.ErrGone)
}
