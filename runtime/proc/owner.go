package proc

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"albatross/messages"
)

// ErrForeign refuses a user information about a process of another user.
var ErrForeign = errors.New("it is a process of another user")

// RequireOwner refuses a process unless it belongs to a user: its real user is that one,
// and so are those that it can switch to without executing anything. Root owns all
// processes.
func RequireOwner(p messages.Process, user uint32) error {
	if user == 0 {
		return nil
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.PID))
	if err != nil {
		return ErrGone
	}
	owned, err := ownedBy(string(status), user)
	if err != nil {
		return err
	}
	start, err := startTime(p.PID)
	switch {
	case err != nil:
		return err
	case start != p.StartTime: // another process has the pid by now
		return ErrGone
	case !owned:
		return fmt.Errorf("cannot look at process %d: %w", p.PID, ErrForeign)
	}
	return nil
}

// ownedBy parses /proc/PID/status: the real, effective, saved and file-system user.
func ownedBy(status string, user uint32) (bool, error) {
	for line := range strings.Lines(status) {
		list, found := strings.CutPrefix(line, "Uid:")
		if !found {
			continue
		}
		users := strings.Fields(list)
		for _, text := range users {
			if text != strconv.FormatUint(uint64(user), 10) {
				return false, nil
			}
		}
		return len(users) == 4, nil
	}
	return false, fmt.Errorf("cannot understand /proc/PID/status: it has no users: %q", status)
}
