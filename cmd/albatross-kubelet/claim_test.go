package main

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"

	"albatross/cmd/albatross-kubelet/daemon"
	"albatross/messages"
	"albatross/sockets/certificate"
)

// newEndpoint writes a certificate with its key, and returns an endpoint that nobody asks.
func newEndpoint(t *testing.T) *daemon.Endpoint {
	t.Helper()
	dir := t.TempDir()
	key, err := certificate.Ed25519.Generate()
	require.NoError(t, err)
	root, err := certificate.NewRoot("root", key, time.Now(), time.Hour)
	require.NoError(t, err)
	text, err := certificate.EncodeKey(key)
	require.NoError(t, err)
	e := &daemon.Endpoint{Address: "192.0.2.1:1025", CA: filepath.Join(dir, "ca.pem"), CAKey: filepath.Join(dir, "ca.key")}
	require.NoError(t, os.WriteFile(e.CA, root.Chain.Encode(), 0o600))
	require.NoError(t, os.WriteFile(e.CAKey, text, 0o600))
	return e
}

// Warnings is a log of which nothing else is kept.
type warnings chan string

func (warnings) Enabled(_ context.Context, level slog.Level) bool { return level == slog.LevelWarn }
func (w warnings) WithAttrs([]slog.Attr) slog.Handler             { return w }
func (w warnings) WithGroup(string) slog.Handler                  { return w }

func (w warnings) Handle(_ context.Context, r slog.Record) error {
	w <- r.Message
	return nil
}

// TestOneProviderFromAfar: a second one waits until the first has left.
func TestOneProviderFromAfar(t *testing.T) {
	api := fake.NewClientset()
	e := newEndpoint(t)
	waits := make(warnings, 10)
	log := slog.New(waits)
	serves := func(ctx context.Context) (begun chan struct{}, ended chan error) {
		begun, ended = make(chan struct{}), make(chan error, 1)
		go func() {
			ended <- claimed(ctx, log, daemon.Daemon{Afar: e}, api, func(ctx context.Context) error {
				close(begun)
				<-ctx.Done()
				return nil
			})
		}()
		return begun, ended
	}
	first, leave := context.WithCancel(t.Context())
	begun, ended := serves(first)
	<-begun
	lease, err := api.CoordinationV1().Leases(corev1.NamespaceNodeLease).Get(t.Context(), claimName(e.Address, messages.Root), metav1.GetOptions{})
	require.NoError(t, err)
	require.NotEmpty(t, *lease.Spec.HolderIdentity)

	second, leaveToo := context.WithCancel(t.Context())
	none, waited := serves(second)
	require.Contains(t, <-waits, "Another albatross-kubelet serves this daemon")
	leaveToo()
	require.NoError(t, <-waited)
	select {
	case <-none:
		require.Fail(t, "there are two")
	default:
	}
	leave()
	require.NoError(t, <-ended)
	third, leaveLast := context.WithCancel(t.Context())
	begun, ended = serves(third)
	<-begun // at once: the first has given its claim back
	leaveLast()
	require.NoError(t, <-ended)
}

// TestAClaimEndsWithItsService, and the error is told.
func TestAClaimEndsWithItsService(t *testing.T) {
	failed := errors.New("failed")
	err := claimed(t.Context(), slog.New(slog.DiscardHandler), daemon.Daemon{Afar: newEndpoint(t)}, fake.NewClientset(),
		func(context.Context) error { return failed })
	require.ErrorIs(t, err, failed)
	require.NotErrorIs(t, err, errLost)
}
