package activation

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strings"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
)

const (
	// startLimit is how long the first check may take. Service managers have a
	// limit of their own, which is shorter.
	startLimit = time.Hour
	// statusEvery is how often the status is told to a manager that waits for no
	// sign of life.
	statusEvery = 30 * time.Second
	// tellLimit is how long a message may take: a manager that does not read must
	// not keep the daemon from stopping.
	tellLimit = 5 * time.Second
)

// A Manager is the service manager, as far as it wants to hear from us.
type Manager struct {
	socket string        // where it hears us; empty: it does not want to
	every  time.Duration // how often it hears from us
	alive  []string      // what it then hears beside the status
	log    *slog.Logger
}

// NewManager finds out what the service manager wants to hear. The error is that
// it cannot be understood.
func NewManager(log *slog.Logger) (*Manager, error) {
	m := &Manager{socket: os.Getenv("NOTIFY_SOCKET"), every: statusEvery, log: log}
	limit, err := daemon.SdWatchdogEnabled(false)
	switch {
	case err != nil:
		return nil, fmt.Errorf("cannot understand the service manager: %w", err)
	case limit > 0:
		m.every, m.alive = limit/2, []string{daemon.SdNotifyWatchdog}
	}
	return m, nil
}

// A Check finds out whether the daemon works, and tells in a line for people what
// it does. It returns when ctx is done at the latest.
type Check func(ctx context.Context) (status string, err error)

// Attend tells the manager that the daemon is ready when a check has succeeded
// for the first time, and that it works each time that another one has. There is
// one whenever half of the time is over that the manager waits for it, and it has
// half of what is left then. Attend returns when ctx is done and it has told that
// the daemon stops.
func (m *Manager) Attend(ctx context.Context, check Check) {
	if m.socket == "" {
		return
	}
	defer m.tell(daemon.SdNotifyStopping, "STATUS=Stopping")
	tick := time.NewTicker(m.every)
	defer tick.Stop()
	limit, news := startLimit, []string{daemon.SdNotifyReady}
	for {
		status, err := checkWithin(ctx, limit, check)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			m.log.Error("The service manager is not told that the daemon works, for that could not be found out", "error", err)
			m.tell("STATUS=Does not work; its log tells more")
		default:
			m.tell(append(news, "STATUS="+status)...)
			limit, news = m.every/2, m.alive
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

func checkWithin(ctx context.Context, limit time.Duration, check Check) (status string, err error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	return check(ctx)
}

// tell sends a message, which is lines of assignments. (SdNotify would wait for
// as long as the manager does not read.)
func (m *Manager) tell(lines ...string) {
	if err := send(m.socket, strings.Join(lines, "\n")); err != nil {
		m.log.Warn("Cannot tell the service manager", "lines", lines, "error", err)
	}
}

// send connects anew each time, for a manager may be replaced by another one.
func send(socket, text string) error {
	c, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: socket, Net: "unixgram"})
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	if err := c.SetWriteDeadline(time.Now().Add(tellLimit)); err != nil {
		return err
	}
	_, err = c.Write([]byte(text))
	return err
}
