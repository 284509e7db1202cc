package activation_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"albatross/runtime/activation"
)

const (
	// patience bounds what must happen.
	patience = 20 * time.Second
	// watchdog is how long the managers of these tests wait for a message.
	watchdog = 200 * time.Millisecond
)

// A listener is the socket of the service manager.
type listener struct {
	t *testing.T
	*net.UnixConn
}

func listen(t *testing.T, address string) *listener {
	t.Helper()
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: address, Net: "unixgram"})
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close() })
	require.NoError(t, c.SetReadDeadline(time.Now().Add(patience)))
	t.Setenv("NOTIFY_SOCKET", address)
	t.Setenv("WATCHDOG_USEC", "")
	t.Setenv("WATCHDOG_PID", "")
	return &listener{t, c}
}

// hears waits for the next message.
func (l *listener) hears() string {
	l.t.Helper()
	b := make([]byte, 4096)
	n, err := l.Read(b)
	require.NoError(l.t, err)
	return string(b[:n])
}

// requireSilence checks that there is no further message.
func (l *listener) requireSilence() {
	raw, err := l.SyscallConn()
	if err == nil {
		err = raw.Control(func(fd uintptr) {
			_, _, err := unix.Recvfrom(int(fd), make([]byte, 1), unix.MSG_DONTWAIT|unix.MSG_PEEK)
			if err != unix.EAGAIN {
				l.t.Errorf("a message is there: %v", err)
			}
		})
	}
	if err != nil {
		l.t.Error(err)
	}
}

// attend makes a daemon attend to the manager until stop is called. That also waits for it.
func attend(t *testing.T, check activation.Check) (stop func()) {
	t.Helper()
	m, err := activation.NewManager(slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	var attending sync.WaitGroup
	attending.Go(func() { m.Attend(ctx, check) })
	t.Cleanup(attending.Wait)
	t.Cleanup(cancel)
	return func() {
		cancel()
		attending.Wait()
	}
}

// TestReady: the manager gets a message that the daemon is ready once that is true. Then messages
// say again and again that it works, and the last one says that it stops.
func TestReady(t *testing.T) {
	for name, address := range map[string]string{"file": filepath.Join(shortDir(t), "notify"), "abstract": "@" + shortDir(t)} {
		t.Run(name, func(t *testing.T) {
			l := listen(t, address)
			t.Setenv("WATCHDOG_USEC", strconv.FormatInt(watchdog.Microseconds(), 10))
			checks := 0
			stop := attend(t, func(context.Context) (string, error) {
				if checks == 0 {
					l.requireSilence()
				}
				checks++
				return fmt.Sprintf("check %d", checks), nil
			})
			require.Equal(t, "READY=1\nSTATUS=check 1", l.hears())
			require.Equal(t, "WATCHDOG=1\nSTATUS=check 2", l.hears())
			require.Equal(t, "WATCHDOG=1\nSTATUS=check 3", l.hears())
			stop()
			said := ""
			for said != "STOPPING=1\nSTATUS=Stopping" {
				said = l.hears()
			}
			l.requireSilence()
		})
	}
}

// TestNoAnswerNoSignOfLife: while the check fails, or does not answer in time, the messages do not
// say that the daemon works.
func TestNoAnswerNoSignOfLife(t *testing.T) {
	l := listen(t, filepath.Join(shortDir(t), "notify"))
	t.Setenv("WATCHDOG_USEC", strconv.FormatInt(watchdog.Microseconds(), 10))
	n := 0
	attend(t, func(ctx context.Context) (string, error) {
		n++
		switch n {
		case 1: // the start may take long
			end, ok := ctx.Deadline()
			if !ok || time.Until(end) < time.Minute {
				t.Errorf("the first check must end at %v", end)
			}
			return "", errors.New("broken")
		case 3:
			end, ok := ctx.Deadline()
			if !ok || time.Until(end) > watchdog/4 {
				t.Errorf("a check must end at %v", end)
			}
			<-ctx.Done()
			return "", ctx.Err()
		case 4:
			return "", errors.New("broken")
		}
		return "fine", nil
	})
	for _, want := range []string{
		"STATUS=Does not work; its log tells more", "READY=1\nSTATUS=fine",
		"STATUS=Does not work; its log tells more", "STATUS=Does not work; its log tells more",
		"WATCHDOG=1\nSTATUS=fine",
	} {
		require.Equal(t, want, l.hears())
	}
}

// TestStopBeforeReady: a daemon that is stopped while it starts is never ready.
func TestStopBeforeReady(t *testing.T) {
	l := listen(t, filepath.Join(shortDir(t), "notify"))
	begun := make(chan struct{})
	stop := attend(t, func(ctx context.Context) (string, error) {
		close(begun)
		<-ctx.Done()
		return "", ctx.Err()
	})
	<-begun
	stop()
	require.Equal(t, "STOPPING=1\nSTATUS=Stopping", l.hears())
	l.requireSilence()
}

// TestNobodyListens: without a manager the daemon checks nothing.
func TestNobodyListens(t *testing.T) {
	t.Setenv("NOTIFY_SOCKET", "")
	m, err := activation.NewManager(slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	m.Attend(t.Context(), func(context.Context) (string, error) {
		t.Error("there is no need to check")
		return "", nil
	})
}

// TestManagerThatDoesNotRead does not keep the daemon from stopping. The queue of a socket is
// short.
func TestManagerThatDoesNotRead(t *testing.T) {
	l := listen(t, filepath.Join(shortDir(t), "notify"))
	full, err := net.Dial("unixgram", l.LocalAddr().String())
	require.NoError(t, err)
	defer full.Close()
	raw, err := full.(*net.UnixConn).SyscallConn()
	require.NoError(t, err)
	require.NoError(t, raw.Write(func(fd uintptr) bool {
		for err == nil {
			_, err = unix.Write(int(fd), []byte("noise"))
		}
		return true
	}))
	require.Equal(t, unix.EAGAIN, err)
	stop := attend(t, func(ctx context.Context) (string, error) { return "", nil })
	begun := time.Now()
	stop()
	require.Less(t, time.Since(begun), patience)
}

func TestManagersWeDoNotUnderstand(t *testing.T) {
	listen(t, filepath.Join(shortDir(t), "notify"))
	for _, usec := range []string{"soon", "-1", "0"} {
		t.Setenv("WATCHDOG_USEC", usec)
		_, err := activation.NewManager(slog.New(slog.DiscardHandler))
		require.ErrorContains(t, err, "cannot understand the service manager: ", usec)
	}
}

// TestAnotherWatchdog: a manager that watches another process gets no messages of ours.
func TestAnotherWatchdog(t *testing.T) {
	l := listen(t, filepath.Join(shortDir(t), "notify"))
	t.Setenv("WATCHDOG_USEC", "2") // so short that there would be a message at once
	t.Setenv("WATCHDOG_PID", "1")
	stop := attend(t, func(context.Context) (string, error) { return "fine", nil })
	require.Equal(t, "READY=1\nSTATUS=fine", l.hears())
	stop()
	require.Equal(t, "STOPPING=1\nSTATUS=Stopping", l.hears())
}
