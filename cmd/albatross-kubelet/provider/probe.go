package provider

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"

	"albatross/cmd/albatross-kubelet/pods"
	"albatross/messages"
)

// A prober probes the unikernels of pods, as the pods ask for. Each run of a pod has one set of
// probes, each probe a goroutine.
type prober struct {
	changed   func(types.NamespacedName) // called when a probe has a new result
	published netip.Addr                 // see Config
	ctx       context.Context            // ends with the prober
	cancel    context.CancelFunc
	running   sync.WaitGroup // the probes

	mu   sync.Mutex
	runs map[types.NamespacedName]*probedRun // guarded by mu
}

// A probedRun is a run of a pod that is probed.
type probedRun struct {
	uid     types.UID
	started time.Time
	cancel  context.CancelFunc
	mu      sync.Mutex
	now     health // guarded by mu
}

// A health is what probes know.
type health struct {
	pods.Health
	dead string // why the liveness probe, or that of the start, has given up; empty: it has not
}

func newProber(changed func(types.NamespacedName), published netip.Addr) *prober {
	ctx, cancel := context.WithCancel(context.Background())
	return &prober{changed: changed, published: published, ctx: ctx, cancel: cancel, runs: map[types.NamespacedName]*probedRun{}}
}

// stop ends all probes, and waits for them.
func (p *prober) stop() {
	p.cancel()
	p.running.Wait()
}

// forget ends the probes of a pod.
func (p *prober) forget(pod types.NamespacedName) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if run := p.runs[pod]; run != nil {
		run.cancel()
		delete(p.runs, pod)
	}
}

// health returns what is known about a unikernel. It begins to probe one that has just been started.
func (p *prober) health(pod *corev1.Pod, seen pods.Seen) health {
	c := &pod.Spec.Containers[0]
	if seen.Status.State != messages.StateRunning {
		p.forget(pods.Key(pod))
		return health{}
	}
	if c.StartupProbe == nil && c.LivenessProbe == nil && c.ReadinessProbe == nil {
		return health{Health: pods.Health{Started: true, Ready: true}}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	run := p.runs[pods.Key(pod)]
	if run == nil || run.uid != pod.UID || !run.started.Equal(seen.Status.Started) {
		if run != nil {
			run.cancel()
		}
		run = p.begin(pod, seen)
		p.runs[pods.Key(pod)] = run
	}
	run.mu.Lock()
	defer run.mu.Unlock()
	return run.now
}

// begin begins to probe a run. Where its status knows what a former provider has found out, that is
// taken over.
func (p *prober) begin(pod *corev1.Pod, seen pods.Seen) *probedRun {
	c := &pod.Spec.Containers[0]
	ctx, cancel := context.WithCancel(p.ctx)
	run := &probedRun{uid: pod.UID, started: seen.Status.Started, cancel: cancel}
	run.now.Health = pods.Health{Started: c.StartupProbe == nil, Ready: c.ReadinessProbe == nil}
	if known, same := shown(pod, seen); same {
		run.now.Started = run.now.Started || known.Started
		run.now.Ready = run.now.Ready || known.Ready
	}
	begun := make(chan struct{})
	update := func(change func(*health)) {
		run.mu.Lock()
		change(&run.now)
		run.mu.Unlock()
		p.changed(pods.Key(pod))
	}
	loop := probing{container: c, args: seen.Status.Arguments, since: seen.Status.Started, published: p.published}
	if run.now.Started {
		close(begun)
	} else {
		p.running.Go(func() {
			loop.run(ctx, c.StartupProbe, func(ok bool, why error) {
				if !ok {
					update(func(h *health) { h.dead = "the startup probe failed: " + why.Error() })
					return
				}
				update(func(h *health) { h.Started = true })
				close(begun)
			}, true)
		})
	}
	after := func(probe *corev1.Probe, result func(bool, error)) {
		if probe == nil {
			return
		}
		p.running.Go(func() {
			select {
			case <-begun:
				loop.run(ctx, probe, result, false)
			case <-ctx.Done():
			}
		})
	}
	after(c.ReadinessProbe, func(ok bool, _ error) { update(func(h *health) { h.Ready = ok }) })
	after(c.LivenessProbe, func(ok bool, why error) {
		if !ok {
			update(func(h *health) { h.dead = "the liveness probe failed: " + why.Error() })
		}
	})
	return run
}

// shown returns the health in the status of a pod, if that is of the same run.
func shown(pod *corev1.Pod, seen pods.Seen) (h pods.Health, same bool) {
	if len(pod.Status.ContainerStatuses) == 0 {
		return h, false
	}
	c := pod.Status.ContainerStatuses[0]
	if c.State.Running == nil || !c.State.Running.StartedAt.Time.Equal(seen.Status.Started.Truncate(time.Second)) {
		return h, false
	}
	return pods.Health{Started: c.Started != nil && *c.Started, Ready: c.Ready}, true
}

// probing is what all probes of a run have in common.
type probing struct {
	container *corev1.Container
	args      messages.Arguments
	since     time.Time
	published netip.Addr // see Config
}

// run makes a probe again and again, and calls result when it has succeeded or failed so often in a row
// as the probe asks for; with once it returns then.
func (l probing) run(ctx context.Context, probe *corev1.Probe, result func(ok bool, why error), once bool) {
	const second = time.Second
	sleep(ctx, time.Until(l.since.Add(time.Duration(probe.InitialDelaySeconds)*second)))
	row, last, told, known := int32(0), false, false, false
	for ctx.Err() == nil {
		err := l.try(ctx, probe, time.Duration(max(probe.TimeoutSeconds, 1))*second)
		ok := err == nil
		if ctx.Err() != nil {
			return
		}
		if row++; ok != last {
			row, last = 1, ok
		}
		enough := row >= max(probe.FailureThreshold, 1)
		if ok {
			enough = row >= max(probe.SuccessThreshold, 1)
		}
		if enough && (!known || told != ok) {
			known, told = true, ok
			result(ok, err)
			if once {
				return
			}
		}
		sleep(ctx, time.Duration(max(probe.PeriodSeconds, 1))*second)
	}
}

// try makes a probe once.
func (l probing) try(ctx context.Context, probe *corev1.Probe, limit time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	if get := probe.HTTPGet; get != nil {
		at, err := l.address(get.Host, get.Port)
		if err != nil {
			return err
		}
		return getHTTP(ctx, get, at)
	}
	at, err := l.address(probe.TCPSocket.Host, probe.TCPSocket.Port)
	if err != nil {
		return err
	}
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", at)
	if err != nil {
		return err
	}
	return conn.Close()
}

// address returns where we reach a port.
func (l probing) address(host string, port intstr.IntOrString) (string, error) {
	number, err := pods.PortOf(l.container, port)
	if err != nil {
		return "", err
	}
	if host != "" {
		return net.JoinHostPort(host, strconv.Itoa(int(number))), nil
	}
	at, _, err := messages.HealthCheck{Kind: messages.HealthTCP, Port: number}.Address(l.args)
	if at.Addr().IsLoopback() && l.published.IsValid() {
		at = netip.AddrPortFrom(l.published, at.Port())
	}
	return at.String(), err
}

// maxAnswer is how much of an answer is read.
const maxAnswer = 10 << 10

// probeClient does not follow redirects: they are answers. It does not keep connections, which would
// outlive what they were to.
var probeClient = &http.Client{
	Transport: &http.Transport{
		DisableKeepAlives: true,
		// Kubernetes promises no more: the address is not one that a certificate could be for.
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true},
	},
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

func getHTTP(ctx context.Context, get *corev1.HTTPGetAction, at string) error {
	where, err := url.Parse(get.Path)
	if err != nil {
		return errors.New("its path is none")
	}
	where.Scheme, where.Host = "http", at
	if get.Scheme != "" {
		where.Scheme = strings.ToLower(string(get.Scheme))
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, where.String(), nil)
	if err != nil {
		return err
	}
	request.Header.Set("User-Agent", "kube-probe/albatross")
	for _, h := range get.HTTPHeaders {
		if strings.EqualFold(h.Name, "Host") {
			request.Host = h.Value
			continue
		}
		request.Header.Add(h.Name, h.Value)
	}
	answer, err := probeClient.Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if _, err := io.CopyN(io.Discard, answer.Body, maxAnswer); err != nil && err != io.EOF {
		return err
	}
	if answer.StatusCode < http.StatusOK || answer.StatusCode >= http.StatusBadRequest {
		return fmt.Errorf("the answer is %s", answer.Status)
	}
	return nil
}
