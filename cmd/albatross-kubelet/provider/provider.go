// Package provider makes unikernels of the pods of a node, and shows in the pods what becomes of
// the unikernels. Its state is in the API server and in the daemon; it holds none of its own that
// matters: whenever it is started, it looks at both and goes on.
//
//	provider.go   the queue of pods, and who puts them there
//	reconcile.go  what is done about one pod
//	start.go      how the unikernel of a pod is created
//	refs.go       what a pod refers to
//	remove.go     what is removed of pods that are gone
//	probe.go      probes
//	host.go       what it needs of the daemon
//
// Everything happens in one function, reconcile, for one pod at a time: it reads the pod and what
// the daemon says about its unikernel, decides by package pods, and does one step. Whatever may have
// changed either of them puts the pod into the queue: the API server, the events of the daemon, a
// probe, a pause that is over, and once in a while the clock, since events can get lost.
//
// virtual-kubelet has a controller of pods of its own. It is not used, since it takes what a
// provider lists for dangling by names alone and at its start only, forgets a pod after twenty
// failures, and never removes one whose deletion it has missed.
package provider

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	listers "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/record"
	"k8s.io/client-go/util/workqueue"

	"albatross/cmd/albatross-kubelet/pods"
	"albatross/messages"
)

const (
	// workers is how many pods are looked after at the same time. Each may hold an image.
	workers = 4

	// A pod whose step has failed is tried again after firstRetry, then after ever longer up to
	// longestRetry.
	firstRetry   = time.Second
	longestRetry = time.Minute

	// lookAgain is how often all pods are looked at, although nothing has said that they have
	// changed.
	lookAgain = time.Minute

	// watchPause is the pause before the daemon is asked for its events again.
	watchPause = time.Second
)

// Config is all that a provider needs.
type Config struct {
	Client   kubernetes.Interface
	Host     Host
	Fetch    Fetch
	Events   record.EventRecorder
	Node     string // the name of the node
	HostIP   string
	Cluster  pods.Cluster
	Settings pods.Settings
	// Reached reports whether the addresses of a network are reached from outside of the host.
	Reached func(network string) bool
	// Published is where we reach ports that the daemon publishes; invalid: at loopback, since it is on
	// this machine.
	Published netip.Addr
	Log       *slog.Logger
	Now       func() time.Time
}

// A Provider looks after the pods of one node.
type Provider struct {
	Config
	factory informers.SharedInformerFactory
	pods    listers.PodLister
	synced  cache.InformerSynced
	queue   workqueue.TypedRateLimitingInterface[types.NamespacedName]
	prober  *prober

	mu       sync.Mutex
	problems map[types.UID]pods.Problem // why pods are not started; guarded by mu
}

// New returns a provider, which does nothing until it runs.
func New(c Config) (*Provider, error) {
	onNode := fields.OneTermEqualSelector("spec.nodeName", c.Node).String()
	factory := informers.NewSharedInformerFactoryWithOptions(c.Client, 0,
		informers.WithTweakListOptions(func(o *metav1.ListOptions) { o.FieldSelector = onNode }))
	informer := factory.Core().V1().Pods()
	p := &Provider{
		Config: c, factory: factory, pods: informer.Lister(), synced: informer.Informer().HasSynced,
		queue: workqueue.NewTypedRateLimitingQueue(
			workqueue.NewTypedItemExponentialFailureRateLimiter[types.NamespacedName](firstRetry, longestRetry)),
		problems: map[types.UID]pods.Problem{},
	}
	p.prober = newProber(p.queue.Add, c.Published)
	_, err := informer.Informer().AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    p.changed,
		UpdateFunc: func(_, now any) { p.changed(now) },
		DeleteFunc: p.changed,
	})
	if err != nil {
		return nil, fmt.Errorf("cannot follow pods: %w", err)
	}
	return p, nil
}

// changed puts a pod into the queue. Of one that has vanished while nobody listened there may be no
// more than a name.
func (p *Provider) changed(object any) {
	if gone, ok := object.(cache.DeletedFinalStateUnknown); ok {
		object = gone.Obj
		if object == nil {
			namespace, name, err := cache.SplitMetaNamespaceKey(gone.Key)
			if err == nil {
				p.queue.Add(types.NamespacedName{Namespace: namespace, Name: name})
			}
			return
		}
	}
	if pod, ok := object.(*corev1.Pod); ok {
		p.queue.Add(pods.Key(pod))
	}
}

// Pod returns a pod of the node, as far as it is known.
func (p *Provider) Pod(namespace, name string) (*corev1.Pod, bool) {
	pod, err := p.pods.Pods(namespace).Get(name)
	return pod, err == nil
}

// All returns all pods of the node that are known.
func (p *Provider) All() []*corev1.Pod {
	list, err := p.pods.List(labels.Everything())
	if err != nil { // the memory of an informer returns none
		p.Log.Warn("Cannot list pods", "error", err)
	}
	return list
}

// Run looks after pods until ctx is done. It begins when it knows all pods of the node.
func (p *Provider) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	var running sync.WaitGroup
	defer p.prober.stop() // when nobody begins to probe any more
	defer running.Wait()
	defer p.factory.Shutdown()
	defer p.queue.ShutDown()
	defer cancel()
	p.factory.Start(ctx.Done())
	if !cache.WaitForCacheSync(ctx.Done(), p.synced) {
		return nil
	}
	running.Go(func() { p.watch(ctx) })
	running.Go(func() { p.lookNowAndThen(ctx) })
	for range workers {
		running.Go(func() { p.work(ctx) })
	}
	<-ctx.Done()
	return nil
}

// work looks after one pod after the other.
func (p *Provider) work(ctx context.Context) {
	for {
		pod, over := p.queue.Get()
		if over {
			return
		}
		again, err := p.reconcile(ctx, pod)
		switch {
		case ctx.Err() != nil:
		case apierrors.IsConflict(err): // somebody else has changed the pod, which is about to arrive
			p.queue.AddRateLimited(pod)
		case err != nil:
			p.Log.Warn("Cannot look after a pod", "pod", pod.String(), "error", err)
			p.queue.AddRateLimited(pod)
		case again > 0:
			p.queue.Forget(pod)
			p.queue.AddAfter(pod, again)
		default:
			p.queue.Forget(pod)
		}
		p.queue.Done(pod)
	}
}

// watch puts the pods into the queue whose unikernels the daemon reports on. It does so for all when it
// begins to hear of changes: there may have been some before.
func (p *Provider) watch(ctx context.Context) {
	for ctx.Err() == nil {
		err := p.Host.Watch(ctx, p.Settings.Path, func() { p.lookAtAll(ctx) }, p.happened)
		if err != nil && ctx.Err() == nil {
			p.Log.Warn("Cannot follow the events of the daemon", "error", err)
		}
		sleep(ctx, watchPause)
	}
}

// happened has a pod looked at whose unikernel an event is about, and tells it to who watches the pod.
func (p *Provider) happened(e messages.Event) {
	key, possible := pods.PodOf(e.Name)
	if !possible {
		return
	}
	p.queue.Add(key)
	pod, known := p.Pod(key.Namespace, key.Name)
	kind, reason, message, tells := pods.Tell(e)
	if known && tells && pod.Spec.NodeName == p.Node {
		p.Events.Event(pod, kind, reason, message)
	}
}

// sleep returns early when ctx is done.
func sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

func (p *Provider) lookNowAndThen(ctx context.Context) {
	for ctx.Err() == nil {
		p.lookAtAll(ctx)
		sleep(ctx, lookAgain)
	}
}

// lookAtAll puts all pods into the queue, those of the API server and those whose unikernels run.
func (p *Provider) lookAtAll(ctx context.Context) {
	list, err := p.pods.List(labels.Everything())
	if err != nil {
		p.Log.Warn("Cannot list pods", "error", err)
	}
	for _, pod := range list {
		p.queue.Add(pods.Key(pod))
	}
	if err := errors.Join(p.lookAtUnikernels(ctx), p.removeScratch(ctx)); err != nil && ctx.Err() == nil {
		p.Log.Warn("Cannot look for what is left of pods", "error", err)
	}
}

func (p *Provider) lookAtUnikernels(ctx context.Context) error {
	unikernels, err := p.Host.List(ctx, p.Settings.Path)
	for _, u := range unikernels {
		_, ours := pods.ParseOwner(p.Cluster, u.Owner)
		if pod, possible := pods.PodOf(u.Name); ours && possible {
			p.queue.Add(pod)
		}
	}
	return err
}
