package provider

import (
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"

	"albatross/cmd/albatross-kubelet/pods"
	"albatross/messages"
)

// The reasons why a pod is not started, in words of Kubernetes where it has some.
const (
	reasonMissing = "CreateContainerConfigError" // what it refers to is not there
	reasonImage   = "ErrImagePull"
	reasonCreate  = "CreateContainerError" // the daemon refuses it
)

// start creates the unikernel of a pod. Why it cannot is in the status of the pod, and an event; then
// it is tried again.
func (p *Provider) start(ctx context.Context, pod *corev1.Pod, name messages.Name, seen pods.Seen, d pods.Decision) (failed error) {
	plan, err := p.plan(ctx, pod)
	if missing := new(pods.MissingError); errors.As(err, &missing) {
		return p.notStarted(ctx, pod, seen, d, reasonMissing, err)
	}
	if impossible := new(impossibleError); errors.As(err, &impossible) {
		return p.refuse(ctx, pod, err)
	}
	if err != nil {
		return err
	}
	image, err := p.Fetch(ctx, plan.Image)
	if err != nil {
		return p.notStarted(ctx, pod, seen, d, reasonImage, fmt.Errorf("cannot get the image %s: %w", plan.Image, err))
	}
	defer func() { failed = errors.Join(failed, image.free()) }()
	// The run is in the status before it can exist. If the pod was changed meanwhile, that fails.
	view := p.view(pod, seen, d)
	view.Begins = p.begin(pod, d)
	if pod, err = p.write(ctx, pod, pods.Status(pod, view)); err != nil {
		return err
	}
	owner := pods.Owner{Cluster: p.Cluster, UID: pod.UID, Former: d.Former}
	if d.Step == pods.Replace {
		if err := p.Host.Destroy(ctx, name); err != nil {
			return fmt.Errorf("cannot destroy the unikernel with the former image: %w", err)
		}
		seen = pods.Seen{}
	}
	if err := p.create(ctx, name, plan, image, owner); err != nil {
		return p.notStarted(ctx, pod, seen, pods.Decision{Step: d.Step}, reasonCreate, err)
	}
	p.setProblem(pod.UID, nil)
	p.Events.Event(pod, corev1.EventTypeNormal, "Started", "the unikernel "+name.String()+" is created")
	p.queue.Add(pods.Key(pod))
	return nil
}

// begin returns the run that begins. One that is announced already, and has not begun, stays as it is:
// else each try would change the status, which puts the pod into the queue at once.
func (p *Provider) begin(pod *corev1.Pod, d pods.Decision) *pods.Run {
	if run, announced := pods.RunOf(pod); announced && run.Former == d.Former && !d.Ended {
		return &run
	}
	return &pods.Run{Former: d.Former, Asked: p.Now().UTC().Truncate(time.Millisecond)}
}

// create makes what a unikernel needs, and the unikernel.
func (p *Provider) create(ctx context.Context, name messages.Name, plan pods.Plan, image Image, owner pods.Owner) error {
	for _, s := range plan.Scratch {
		if err := p.Host.MakeBlock(ctx, s.Name, s.Size, scratchOwner(owner).String()); err != nil {
			return fmt.Errorf("cannot make the block device %s: %w", s.Name, err)
		}
	}
	config := messages.Config{Type: messages.Solo5, Image: image.Contents, Arguments: plan.For(image.Defaults)}
	if err := p.Host.Create(ctx, name, config, owner.String()); err != nil {
		return fmt.Errorf("cannot create the unikernel: %w", err)
	}
	return nil
}

// scratchOwner returns the owner of the block devices that are made for a pod: they stay when it is
// started anew.
func scratchOwner(o pods.Owner) pods.Owner {
	o.Former = 0
	return o
}

// notStarted shows why a pod was not started, and returns an error, so that it is tried again.
func (p *Provider) notStarted(ctx context.Context, pod *corev1.Pod, seen pods.Seen, d pods.Decision, reason string, why error) error {
	problem := pods.Problem{Reason: reason, Message: why.Error()}
	if was := p.problem(pod.UID); was == nil || *was != problem {
		p.Events.Event(pod, corev1.EventTypeWarning, reason, why.Error())
	}
	p.setProblem(pod.UID, &problem)
	if _, err := p.write(ctx, pod, pods.Status(pod, p.view(pod, seen, d))); err != nil {
		return errors.Join(why, err)
	}
	return why
}
