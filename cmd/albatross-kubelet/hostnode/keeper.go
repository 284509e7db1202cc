package hostnode

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	vklog "github.com/virtual-kubelet/virtual-kubelet/log"
	"github.com/virtual-kubelet/virtual-kubelet/node"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

const (
	// leaseSeconds is how long the control plane waits for a sign of life.
	leaseSeconds = 40
	// pingTime bounds the answer of the daemon to the question whether it is there.
	pingTime = 5 * time.Second
	// lookEvery is how often the load of the host is looked at.
	lookEvery = 15 * time.Second
)

// A Keeper keeps the node of a host registered, as long as the daemon answers.
type Keeper struct {
	Client      kubernetes.Interface
	Description Description
	// Ping reports whether the daemon is there, and Load what the host has.
	Ping func(context.Context) error
	Load func(context.Context) (Load, error)
	Log  *slog.Logger
	Now  func() time.Time
	// Status is how often the node itself is looked at in the API server, since somebody may have
	// removed it, and Again the pause before it is registered again, after that has failed.
	Status, Again time.Duration
}

// The usual Status and Again.
const (
	UsualStatus = 30 * time.Second
	UsualAgain  = 5 * time.Second
)

// Run keeps the node until ctx is done. When the API server is not there it tries again.
func (k *Keeper) Run(ctx context.Context) {
	ctx = vklog.WithLogger(ctx, logger{k.Log})
	for ctx.Err() == nil {
		if err := k.keep(ctx); err != nil && ctx.Err() == nil {
			k.Log.Warn("Cannot keep the node", "error", err)
			sleep(ctx, k.Again)
		}
	}
}

func sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

// keep registers the node, and keeps it up to date until ctx is done, that is not possible, or the host
// has another load: then the node is another one.
func (k *Keeper) keep(ctx context.Context) error {
	load, err := k.Load(ctx)
	if err != nil {
		return fmt.Errorf("cannot ask the daemon what the host has: %w", err)
	}
	ctx, cancel := context.WithCancel(ctx)
	var looking sync.WaitGroup
	defer looking.Wait()
	defer cancel()
	looking.Go(func() {
		k.untilChanged(ctx, load)
		cancel()
	})
	c, err := node.NewNodeController(pinged(k.Ping), k.Description.New(load, k.Now()), k.Client.CoreV1().Nodes(),
		node.WithNodeEnableLeaseV1(k.Client.CoordinationV1().Leases(corev1.NamespaceNodeLease), leaseSeconds),
		node.WithNodePingTimeout(pingTime),
		node.WithNodeStatusUpdateInterval(k.Status),
		node.WithNodeStatusUpdateErrorHandler(k.restore),
	)
	if err != nil {
		return err
	}
	err = c.Run(ctx)
	if ctx.Err() != nil { // that is why it has ended
		return nil
	}
	return err
}

// untilChanged returns when the host has another load.
func (k *Keeper) untilChanged(ctx context.Context, load Load) {
	for {
		sleep(ctx, lookEvery)
		if ctx.Err() != nil {
			return
		}
		now, err := k.Load(ctx)
		switch {
		case err != nil:
			k.Log.Warn("Cannot ask the daemon what the host has", "error", err)
		case !now.equal(load):
			return
		}
	}
}

// restore makes the node again if somebody has removed it.
func (k *Keeper) restore(ctx context.Context, err error) error {
	if !apierrors.IsNotFound(err) {
		return err
	}
	load, err := k.Load(ctx)
	if err != nil {
		return err
	}
	_, err = k.Client.CoreV1().Nodes().Create(ctx, k.Description.New(load, k.Now()), metav1.CreateOptions{})
	if err == nil {
		k.Log.Info("The node is registered again: somebody had removed it")
	}
	return err
}

// pinged is a node.NodeProvider that asks the daemon whether it is there, and has nothing to tell.
type pinged func(context.Context) error

// Ping implements node.NodeProvider.
func (p pinged) Ping(ctx context.Context) error { return p(ctx) }

// NotifyNodeStatus implements node.NodeProvider.
func (pinged) NotifyNodeStatus(context.Context, func(*corev1.Node)) {}

func (l Load) equal(other Load) bool {
	return l.Foreign == other.Foreign && l.Memory == other.Memory && l.Policy.Unikernels == other.Policy.Unikernels &&
		l.Policy.Memory == other.Policy.Memory && len(l.Policy.CPUIDs) == len(other.Policy.CPUIDs)
}
