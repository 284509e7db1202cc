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
	// startLimit bounds the first check. Service managers have a limit of their own,
	// which is shorter.
	startLimit = time.Hour
	// statusEvery is the interval of status messages to a manager without a watchdog.
	statusEvery = 30 * time.Second
	// notifyTimeout bounds the time for one message: a manager that does not read must not
	// keep the daemon from stopping.
	notifyTimeout = 5 * time.Second
)

// A Manager is the service manager that has started us, if any.
type Manager struct {
	socket string        // where it listens; empty: there is no manager
	every  time.Duration // between two messages
	alive  []string      // sent in each, beside the status
	log    *slog.Logger
}

// NewManager reads from the environment what the service manager expects. The error says
// that it cannot be parsed.
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

// A Check finds out whether the daemon works, and returns a line about it for people. It
// returns when ctx is done at the latest.
type Check func(ctx context.Context) (status string, err error)

// Attend notifies the manager that the daemon is ready, when the first check has
// succeeded, and that it works, whenever another one has. A check begins when half of the
// manager's timeout has passed, and has half of the remaining time. Attend returns when
// ctx is done, and notifies the manager first that the daemon stops.
func (m *Manager) Attend(ctx context.Context, check Check) {
	if m.socket == "" {
		return
	}
	defer m.notify(daemon.SdNotifyStopping, "STATUS=Stopping")
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
			m.notify("STATUS=Does not work; its log tells more")
		default:
			m.notify(append(news, "STATUS="+status)...)
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

// notify sends a message: lines of assignments. (SdNotify would block while the manager
// does not read.)
func (m *Manager) notify(lines ...string) {
	if err := send(m.socket, strings.Join(lines, "\n")); err != nil {
		m.log.Warn("Cannot tell the service manager", "lines", lines, "error", err)
	}
}

// send connects anew each time, for the manager may have been replaced.
func send(socket, text string) error {
	c, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: socket, Net: "unixgram"})
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	if err := c.SetWriteDeadline(time.Now().Add(notifyTimeout)); err != nil {
		return err
	}
	_, err = c.Write([]byte(text))
	return err
}
