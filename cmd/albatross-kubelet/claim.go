package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/uuid"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"

	"albatross/cmd/albatross-kubelet/daemon"
	"albatross/messages"
)

// How long a claim in the cluster holds without a sign of life, when its holder gives up, and how often
// that renews it.
const (
	claimTime  = 40 * time.Second
	claimGives = 30 * time.Second
	claimRenew = 10 * time.Second
)

// errLost: another provider may serve the daemon by now.
var errLost = errors.New("cannot renew the claim of the daemon in time: another albatross-kubelet may serve it by now")

// claimed calls serve as the only provider of the daemon. On this machine a second one is an error. From
// afar it waits until the first one has left.
func claimed(ctx context.Context, log *slog.Logger, d daemon.Daemon, client kubernetes.Interface, serve func(context.Context) error) error {
	if d.Afar != nil {
		return claimedAfar(ctx, log, d.Afar, client, serve)
	}
	var release func() error
	var refused error
	until(ctx, log, "claim the daemon", func(context.Context) error {
		var failed error
		if release, failed = d.Claim(); errors.Is(failed, daemon.ErrClaimed) {
			refused = failed
			return nil
		}
		return failed
	})
	if release == nil {
		return refused
	}
	return errors.Join(serve(ctx), release())
}

// claimedAfar claims the daemon in the cluster, by a lease. It gives the claim back when serve has ended,
// and serve ends when the claim is lost.
func claimedAfar(ctx context.Context, log *slog.Logger, e *daemon.Endpoint, client kubernetes.Interface, serve func(context.Context) error) error {
	path, err := e.Path()
	if err != nil {
		return err
	}
	elected := make(chan context.Context, 1) // which is done when the claim is lost
	elector, err := newElector(client, claimName(e.Address, path), elected, log)
	if err != nil {
		return fmt.Errorf("cannot claim the daemon: %w", err)
	}
	electing, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		elector.Run(electing)
	}()
	select {
	case <-ctx.Done():
	case holds := <-elected:
		serving, cancel := context.WithCancel(ctx)
		defer context.AfterFunc(holds, cancel)()
		err = serve(serving)
		cancel()
		if holds.Err() != nil {
			err = errors.Join(err, errLost)
		}
	}
	stop()
	<-ended
	return err
}

func newElector(client kubernetes.Interface, name string, elected chan<- context.Context, log *slog.Logger) (*leaderelection.LeaderElector, error) {
	host, err := os.Hostname()
	if err != nil {
		return nil, err
	}
	us := host + "_" + string(uuid.NewUUID())
	return leaderelection.NewLeaderElector(leaderelection.LeaderElectionConfig{
		Lock: &resourcelock.LeaseLock{
			LeaseMeta:  metav1.ObjectMeta{Namespace: corev1.NamespaceNodeLease, Name: name},
			Client:     client.CoordinationV1(),
			LockConfig: resourcelock.ResourceLockConfig{Identity: us},
		},
		LeaseDuration: claimTime, RenewDeadline: claimGives, RetryPeriod: claimRenew, ReleaseOnCancel: true,
		Callbacks: leaderelection.LeaderCallbacks{
			OnStartedLeading: func(holds context.Context) { elected <- holds },
			OnStoppedLeading: func() {},
			OnNewLeader: func(holder string) {
				if holder != us {
					log.Warn("Another albatross-kubelet serves this daemon: waiting until it has left", "holder", holder)
				}
			},
		},
	})
}

// claimName returns the name of the lease for a path of the daemon behind an endpoint.
func claimName(address string, path messages.Path) string {
	sum := sha256.Sum256([]byte(address + "\n" + string(path)))
	return "albatross-" + hex.EncodeToString(sum[:8])
}
