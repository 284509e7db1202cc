package provider

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"
	"k8s.io/client-go/tools/record"

	"albatross/cmd/albatross-kubelet/pods"
	"albatross/messages"
)

// patience bounds what must happen.
const patience = 30 * time.Second

const (
	node    = "host"
	cluster = pods.Cluster("01234567")
)

// A world is an API server and a daemon that are made up, and a provider between them.
type world struct {
	t      *testing.T
	api    *fake.Clientset
	host   *fakeHost
	events *record.FakeRecorder
	stop   func() // ends the provider; nil while none runs

	updating sync.Mutex
	version  int // of the pod that was changed last; guarded by updating
}

// newWorld returns a world without a provider.
func newWorld(t *testing.T, objects ...runtime.Object) *world {
	w := &world{t: t, api: fake.NewClientset(objects...), host: newFakeHost(), events: record.NewFakeRecorder(1000)}
	w.api.PrependReactor("update", "pods", w.update)
	t.Cleanup(w.end)
	return w
}

// podResource is what the API server calls pods.
var podResource = corev1.SchemeGroupVersion.WithResource("pods")

// update changes a pod as a real API server does, which refuses a change of what has changed meanwhile,
// and changes nothing but the status if that is written. The made-up one does neither.
func (w *world) update(a clienttesting.Action) (bool, runtime.Object, error) {
	w.updating.Lock()
	defer w.updating.Unlock()
	asked := a.(clienttesting.UpdateAction).GetObject().(*corev1.Pod).DeepCopy()
	current, err := w.api.Tracker().Get(podResource, asked.Namespace, asked.Name)
	if err != nil {
		return true, nil, err
	}
	now := current.(*corev1.Pod).DeepCopy()
	if asked.ResourceVersion != now.ResourceVersion {
		return true, nil, apierrors.NewConflict(podResource.GroupResource(), asked.Name, errors.New("it was changed meanwhile"))
	}
	if a.GetSubresource() == "status" {
		now.Status = asked.Status
	} else {
		now = asked
	}
	w.version++
	now.ResourceVersion = strconv.Itoa(w.version)
	return true, now, w.api.Tracker().Update(podResource, now, now.Namespace)
}

// start starts a provider.
func (w *world) start() {
	w.t.Helper()
	p, err := New(Config{
		Client: w.api, Host: w.host, Events: w.events, Node: node, HostIP: "192.0.2.1", Cluster: cluster,
		Settings: pods.Settings{Networks: []string{"pods"}, CPUs: []int{0}},
		Fetch: func(_ context.Context, reference string) (Image, error) {
			if strings.HasPrefix(reference, "missing") {
				return Image{}, errors.New("there is no such image")
			}
			return Image{Contents: []byte(reference)}, nil
		},
		Reached: func(string) bool { return true },
		Log:     slog.New(slog.DiscardHandler),
		Now:     time.Now,
	})
	require.NoError(w.t, err)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- p.Run(ctx) }()
	w.stop = func() {
		cancel()
		select {
		case <-ended:
		case <-time.After(patience):
			w.t.Error("the provider does not end")
		}
		w.stop = nil
	}
}

func (w *world) end() {
	if w.stop != nil {
		w.stop()
	}
}

// until waits for what must happen.
func (w *world) until(what string, holds func() bool) {
	w.t.Helper()
	for deadline := time.Now().Add(patience); !holds(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			w.host.mu.Lock()
			defer w.host.mu.Unlock()
			require.FailNow(w.t, what+": it does not happen", "done: %v\npods: %+v", w.host.done, w.statuses())
		}
	}
}

func (w *world) statuses() (list []corev1.PodStatus) {
	all, _ := w.api.CoreV1().Pods("").List(context.Background(), metav1.ListOptions{})
	for _, p := range all.Items {
		list = append(list, p.Status)
	}
	return list
}

func (w *world) create(p *corev1.Pod) {
	w.t.Helper()
	_, err := w.api.CoreV1().Pods(p.Namespace).Create(context.Background(), p, metav1.CreateOptions{})
	require.NoError(w.t, err)
}

// pod returns a pod of the API server; nil: there is none.
func (w *world) pod(name string) *corev1.Pod {
	p, err := w.api.CoreV1().Pods("shop").Get(context.Background(), name, metav1.GetOptions{})
	if err != nil {
		return nil
	}
	return p
}

// change changes a pod of the API server.
func (w *world) change(name string, change func(*corev1.Pod)) {
	w.t.Helper()
	w.until("a pod is changed", func() bool {
		p := w.pod(name)
		change(p)
		_, err := w.api.CoreV1().Pods(p.Namespace).Update(context.Background(), p, metav1.UpdateOptions{})
		return err == nil
	})
}

// is waits until a pod satisfies a condition.
func (w *world) is(name, what string, holds func(p *corev1.Pod, c corev1.ContainerStatus) bool) {
	w.t.Helper()
	w.until(name+" is "+what, func() bool {
		p := w.pod(name)
		if p == nil {
			return false
		}
		var c corev1.ContainerStatus
		if len(p.Status.ContainerStatuses) == 1 {
			c = p.Status.ContainerStatuses[0]
		}
		return holds(p, c)
	})
}

func (w *world) isReady(name string) {
	w.t.Helper()
	w.is(name, "ready", func(p *corev1.Pod, c corev1.ContainerStatus) bool {
		return c.Ready && c.State.Running != nil && readyCondition(p) == corev1.ConditionTrue
	})
}

func (w *world) waits(name, reason string) {
	w.t.Helper()
	w.is(name, "waiting for "+reason, func(_ *corev1.Pod, c corev1.ContainerStatus) bool {
		return c.State.Waiting != nil && c.State.Waiting.Reason == reason
	})
}

func readyCondition(p *corev1.Pod) corev1.ConditionStatus {
	for _, c := range p.Status.Conditions {
		if c.Type == corev1.PodReady {
			return c.Status
		}
	}
	return ""
}

// settled waits until a provider has looked at a new pod, and so at all that came before it.
func (w *world) settled(name string) {
	w.t.Helper()
	w.create(newPod(name, types.UID("uid-of-"+name)))
	w.isReady(name)
}

// event waits for an event with a text.
func (w *world) event(text string) {
	w.t.Helper()
	deadline := time.After(patience)
	for {
		select {
		case e := <-w.events.Events:
			if strings.Contains(e, text) {
				return
			}
		case <-deadline:
			require.FailNow(w.t, "there is no event "+text)
		}
	}
}

// newPod returns a pod that is possible, with changes.
func newPod(name string, uid types.UID, changes ...func(*corev1.Pod)) *corev1.Pod {
	p := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name, UID: uid},
		Spec: corev1.PodSpec{
			NodeName: node, RestartPolicy: corev1.RestartPolicyAlways,
			Containers: []corev1.Container{{Name: "web", Image: "web:1"}},
		},
	}
	for _, change := range changes {
		change(p)
	}
	return p
}

func deletedAt(at time.Time) func(*corev1.Pod) {
	return func(p *corev1.Pod) {
		t, grace := metav1.NewTime(at), int64(30)
		p.DeletionTimestamp, p.DeletionGracePeriodSeconds = &t, &grace
	}
}

func never(p *corev1.Pod) { p.Spec.RestartPolicy = corev1.RestartPolicyNever }

func owner(uid types.UID, former int) string {
	return pods.Owner{Cluster: cluster, UID: uid, Former: former}.String()
}

// A fakeHost is a daemon that is made up.
type fakeHost struct {
	mu         sync.Mutex
	unikernels map[string]Unikernel // by name; guarded by mu, as all that follows
	blocks     map[string]Block
	done       []string       // what it was told to do, in order
	refused    messages.Label // what is not created, and why
	refusal    error
	happened   func(messages.Event)
}

func newFakeHost() *fakeHost {
	return &fakeHost{unikernels: map[string]Unikernel{}, blocks: map[string]Block{}}
}

// runs makes a unikernel run that somebody has created before.
func (h *fakeHost) runs(name, owner string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.run(name, owner)
}

func (h *fakeHost) run(name, owner string) {
	n, _ := messages.ParseName(name)
	u := Unikernel{Owner: owner}
	u.Name, u.State, u.Started = n, messages.StateRunning, time.Now().UTC().Truncate(time.Millisecond)
	u.End = h.unikernels[name].End
	h.unikernels[name] = u
}

// ends makes a unikernel end.
func (h *fakeHost) ends(name string, exit messages.Exit) {
	h.mu.Lock()
	h.finish(name, exit)
	h.mu.Unlock()
	h.tell(name)
}

func (h *fakeHost) refuse(label messages.Label, why error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.refused, h.refusal = label, why
}

func (h *fakeHost) finish(name string, exit messages.Exit) {
	u := h.unikernels[name]
	h.unikernels[name] = Unikernel{UnikernelStatus: messages.UnikernelStatus{
		Name: u.Name, State: messages.StateEnded, End: messages.Some(messages.End{Exit: exit, AtMillis: time.Now().UnixMilli()}),
	}}
}

func (h *fakeHost) tell(name string) {
	h.mu.Lock()
	happened, exit := h.happened, h.unikernels[name].End.Value.Exit
	h.mu.Unlock()
	n, _ := messages.ParseName(name)
	if happened != nil {
		happened(messages.Event{Kind: messages.EventExited, Name: n, Exit: messages.Some(exit)})
	}
}

// did returns how often it was told to do something.
func (h *fakeHost) did(what string) (times int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, d := range h.done {
		if d == what {
			times++
		}
	}
	return times
}

func (h *fakeHost) state(name string) messages.UnikernelState {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.unikernels[name].State
}

func (h *fakeHost) Find(_ context.Context, name messages.Name) (Unikernel, bool, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	u, known := h.unikernels[name.String()]
	return u, known, nil
}

func (h *fakeHost) List(context.Context, messages.Path) (list []Unikernel, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, u := range h.unikernels {
		list = append(list, u)
	}
	return list, nil
}

func (h *fakeHost) Create(_ context.Context, name messages.Name, config messages.Config, owner string) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.done = append(h.done, "create "+name.String()+" "+string(config.Image))
	if h.refused == name.Label {
		return h.refusal
	}
	if h.unikernels[name.String()].State != messages.StateEnded && h.unikernels[name.String()].State != "" {
		return errors.New("a unikernel of that name exists")
	}
	h.run(name.String(), owner)
	return nil
}

func (h *fakeHost) Destroy(_ context.Context, name messages.Name) error {
	h.mu.Lock()
	h.done = append(h.done, "destroy "+name.String())
	if h.unikernels[name.String()].exists() {
		h.finish(name.String(), messages.Exit{Known: true, Signal: 15})
	}
	h.mu.Unlock()
	h.tell(name.String())
	return nil
}

func (h *fakeHost) MakeBlock(_ context.Context, name messages.Name, _ int, owner string) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.blocks[name.String()] = Block{Name: name, Owner: owner}
	return nil
}

func (h *fakeHost) RemoveBlock(_ context.Context, name messages.Name, owner string) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.blocks[name.String()].Owner == owner {
		delete(h.blocks, name.String())
	}
	return nil
}

func (h *fakeHost) Blocks(context.Context, messages.Path) (list []Block, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, b := range h.blocks {
		list = append(list, b)
	}
	return list, nil
}

func (h *fakeHost) blockNames() (names []string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for name := range h.blocks {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

func (h *fakeHost) Watch(ctx context.Context, _ messages.Path, begun func(), happened func(messages.Event)) error {
	h.mu.Lock()
	h.happened = happened
	h.mu.Unlock()
	begun()
	<-ctx.Done()
	return ctx.Err()
}
