package volumes

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/record"
	"k8s.io/client-go/util/workqueue"

	"albatross/cmd/albatross-kubelet/pods"
	"albatross/messages"
)

const (
	// What has failed is tried again after firstRetry, then after ever longer up to longestRetry.
	firstRetry   = time.Second
	longestRetry = time.Minute
)

// A Host makes and removes block devices: see provider.Host.
type Host interface {
	MakeBlock(ctx context.Context, name messages.Name, size int, owner string) error
	RemoveBlock(ctx context.Context, name messages.Name, owner string) error
}

// Config is all that a provisioner needs.
type Config struct {
	Client  kubernetes.Interface
	Host    Host
	Events  record.EventRecorder
	Node    string        // the name of the node
	Path    messages.Path // the node's: namespaces are below it
	Cluster pods.Cluster
	Log     *slog.Logger
}

// A key is a claim, or without a namespace a volume.
type key struct{ namespace, name string }

// A Provisioner looks after the claims and volumes of one node.
type Provisioner struct {
	Config
	place   place
	factory informers.SharedInformerFactory
	queue   workqueue.TypedRateLimitingInterface[key]
}

// New returns a provisioner, which does nothing until it runs.
func New(c Config) (*Provisioner, error) {
	p := &Provisioner{
		Config: c, place: place{node: c.Node, path: c.Path, cluster: c.Cluster},
		factory: informers.NewSharedInformerFactory(c.Client, 0),
		queue:   workqueue.NewTypedRateLimitingQueue(workqueue.NewTypedItemExponentialFailureRateLimiter[key](firstRetry, longestRetry)),
	}
	changed := cache.ResourceEventHandlerFuncs{AddFunc: p.changed, UpdateFunc: func(_, now any) { p.changed(now) }}
	_, err := p.factory.Core().V1().PersistentVolumeClaims().Informer().AddEventHandler(changed)
	if err == nil {
		_, err = p.factory.Core().V1().PersistentVolumes().Informer().AddEventHandler(changed)
	}
	if err != nil {
		return nil, fmt.Errorf("cannot follow claims and volumes: %w", err)
	}
	return p, nil
}

// changed puts what there is to do into the queue.
func (p *Provisioner) changed(object any) {
	switch o := object.(type) {
	case *corev1.PersistentVolumeClaim:
		if p.place.wants(o) {
			p.queue.Add(key{o.Namespace, o.Name})
		}
	case *corev1.PersistentVolume:
		if p.place.ours(o) && fateOf(o) != stays {
			p.queue.Add(key{name: o.Name})
		}
	}
}

// Run looks after claims and volumes until ctx is done.
func (p *Provisioner) Run(ctx context.Context) error {
	var working sync.WaitGroup
	defer p.factory.Shutdown()
	defer working.Wait()
	defer p.queue.ShutDown()
	p.factory.Start(ctx.Done())
	working.Go(func() { p.work(ctx) })
	<-ctx.Done()
	return nil
}

func (p *Provisioner) work(ctx context.Context) {
	for {
		k, over := p.queue.Get()
		if over {
			return
		}
		err := p.reconcile(ctx, k)
		switch {
		case err == nil:
			p.queue.Forget(k)
		case ctx.Err() == nil:
			p.Log.Warn("Cannot look after a volume", "namespace", k.namespace, "name", k.name, "error", err)
			p.queue.AddRateLimited(k)
		}
		p.queue.Done(k)
	}
}

func (p *Provisioner) reconcile(ctx context.Context, k key) error {
	if k.namespace == "" {
		return p.reclaim(ctx, k.name)
	}
	// What we remember may be old: a block device that is made for a claim that is gone would stay.
	claim, err := p.Client.CoreV1().PersistentVolumeClaims(k.namespace).Get(ctx, k.name, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err), err == nil && !p.place.wants(claim):
		return nil
	case err != nil:
		return fmt.Errorf("cannot read the claim: %w", err)
	}
	if err := check(claim); err != nil { // it will not change
		p.failed(claim, err)
		return nil
	}
	if err := p.provision(ctx, claim); err != nil {
		p.failed(claim, err)
		return err
	}
	return nil
}

func (p *Provisioner) failed(claim *corev1.PersistentVolumeClaim, why error) {
	p.Events.Event(claim, corev1.EventTypeWarning, "ProvisioningFailed", why.Error())
}

// provision makes the block device and the volume of a claim.
func (p *Provisioner) provision(ctx context.Context, claim *corev1.PersistentVolumeClaim) error {
	d, err := p.place.device(claim.Namespace, claim.UID)
	if err != nil {
		return err
	}
	size, err := megabytes(claim)
	if err != nil {
		return err
	}
	if claim.Spec.StorageClassName == nil {
		return errors.New("the claim names no storage class")
	}
	class, err := p.Client.StorageV1().StorageClasses().Get(ctx, *claim.Spec.StorageClassName, metav1.GetOptions{})
	if err != nil {
		return fmt.Errorf("cannot read the storage class %s: %w", *claim.Spec.StorageClassName, err)
	}
	if err := p.Host.MakeBlock(ctx, d.name, size, d.owner); err != nil {
		return fmt.Errorf("cannot make the block device %s: %w", d.name, err)
	}
	_, err = p.Client.CoreV1().PersistentVolumes().Create(ctx, p.place.volume(claim, class, size), metav1.CreateOptions{})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("cannot make the volume: %w", err)
	}
	p.Events.Event(claim, corev1.EventTypeNormal, "ProvisioningSucceeded", "the block device "+d.name.String()+" is made")
	return nil
}

// reclaim removes a volume that nobody uses any more, if its policy says so.
func (p *Provisioner) reclaim(ctx context.Context, name string) error {
	volume, err := p.Client.CoreV1().PersistentVolumes().Get(ctx, name, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err), err == nil && !p.place.ours(volume):
		return nil
	case err != nil:
		return fmt.Errorf("cannot read the volume: %w", err)
	}
	fate := fateOf(volume)
	if fate == stays {
		return nil
	}
	if fate == removed {
		if err := p.removeBlock(ctx, volume); err != nil {
			p.Events.Event(volume, corev1.EventTypeWarning, "VolumeFailedDelete", err.Error())
			return err
		}
		if err := p.delete(ctx, volume); err != nil {
			return err
		}
	}
	return p.unbind(ctx, volume)
}

func (p *Provisioner) removeBlock(ctx context.Context, volume *corev1.PersistentVolume) error {
	claim := volume.Spec.ClaimRef
	d, err := p.place.device(claim.Namespace, claim.UID)
	if err != nil {
		return err
	}
	if err := p.Host.RemoveBlock(ctx, d.name, d.owner); err != nil {
		return fmt.Errorf("cannot remove the block device %s: %w", d.name, err)
	}
	return nil
}

// delete deletes a volume, which stays as long as our finalizer is in it.
func (p *Provisioner) delete(ctx context.Context, volume *corev1.PersistentVolume) error {
	if volume.DeletionTimestamp != nil {
		return nil
	}
	err := p.Client.CoreV1().PersistentVolumes().Delete(ctx, volume.Name, metav1.DeleteOptions{Preconditions: metav1.NewUIDPreconditions(string(volume.UID))})
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("cannot delete the volume: %w", err)
	}
	return nil
}

// unbind lets a volume go that is deleted.
func (p *Provisioner) unbind(ctx context.Context, volume *corev1.PersistentVolume) error {
	volume, err := p.Client.CoreV1().PersistentVolumes().Get(ctx, volume.Name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err == nil {
		volume.Finalizers = slices.DeleteFunc(volume.Finalizers, func(f string) bool { return f == finalizer })
		_, err = p.Client.CoreV1().PersistentVolumes().Update(ctx, volume, metav1.UpdateOptions{})
	}
	if err != nil {
		return fmt.Errorf("cannot let the volume go: %w", err)
	}
	return nil
}
