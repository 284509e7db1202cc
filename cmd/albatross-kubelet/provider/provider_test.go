package provider

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/watch"
	clienttesting "k8s.io/client-go/testing"
	"k8s.io/client-go/tools/cache"

	"albatross/cmd/albatross-kubelet/pods"
	"albatross/messages"
)

func TestAPodBecomesAUnikernel(t *testing.T) {
	w := newWorld(t)
	w.start()
	w.create(newPod("web", "1"))
	w.isReady("web")
	require.Equal(t, 1, w.host.did("create shop:web web:1"))
	w.event("Started")
	p := w.pod("web")
	require.Equal(t, corev1.PodRunning, p.Status.Phase)
	require.Equal(t, "192.0.2.1", p.Status.HostIP)
}

func TestAPodOfAnotherNodeIsLeftAlone(t *testing.T) {
	w := newWorld(t, newPod("other", "1", func(p *corev1.Pod) { p.Spec.NodeName = "elsewhere" }))
	w.start()
	w.settled("web")
	require.Empty(t, w.pod("other").Status.Phase)
	require.Zero(t, w.host.did("create shop:other web:1"))
}

// TestAProviderThatComesBackLate: what runs goes on, as it is, and shows again in the pods.
func TestAProviderThatComesBackLate(t *testing.T) {
	w := newWorld(t, newPod("web", "1"), newPod("mail", "2"))
	w.start()
	w.isReady("web")
	w.isReady("mail")
	w.stop()
	w.change("web", func(p *corev1.Pod) { // as the control plane does with the pods of a node that is silent
		for i := range p.Status.Conditions {
			p.Status.Conditions[i].Status = corev1.ConditionFalse
		}
	})
	w.change("mail", func(p *corev1.Pod) { p.Status = corev1.PodStatus{} })
	w.start()
	w.isReady("web")
	w.isReady("mail")
	w.settled("new")
	require.Zero(t, w.host.did("destroy shop:web")+w.host.did("destroy shop:mail"))
	require.Equal(t, 1, w.host.did("create shop:web web:1"))
	require.Equal(t, 1, w.host.did("create shop:mail web:1"))
}

func TestTheControlPlaneIsPutRight(t *testing.T) {
	w := newWorld(t, newPod("web", "1"))
	w.start()
	w.isReady("web")
	w.change("web", func(p *corev1.Pod) {
		for i := range p.Status.Conditions {
			p.Status.Conditions[i].Status = corev1.ConditionFalse
		}
	})
	w.isReady("web")
}

// TestAFirstListingThatFails: nothing is removed before all pods are known.
func TestAFirstListingThatFails(t *testing.T) {
	w := newWorld(t, newPod("web", "1"))
	w.host.runs("shop:web", owner("1", 0))
	var failures atomic.Int32
	w.api.PrependReactor("list", "pods", func(clienttesting.Action) (bool, runtime.Object, error) {
		return failures.Add(1) <= 2, nil, errors.New("the API server is not ready")
	})
	w.start()
	w.isReady("web")
	require.Zero(t, w.host.did("destroy shop:web"))
	require.Greater(t, failures.Load(), int32(2))
}

// TestAListingThatIsPartial: the API server is asked about each pod that a listing lacks.
func TestAListingThatIsPartial(t *testing.T) {
	w := newWorld(t, newPod("web", "1"))
	w.host.runs("shop:web", owner("1", 0))
	w.host.runs("shop:gone", owner("9", 0))
	w.api.PrependReactor("list", "pods", func(clienttesting.Action) (bool, runtime.Object, error) {
		return true, &corev1.PodList{}, nil
	})
	w.api.PrependWatchReactor("pods", func(clienttesting.Action) (bool, watch.Interface, error) {
		return true, watch.NewFake(), nil
	})
	w.start()
	w.until("the API server is asked about both", func() bool { return w.asked("web") && w.asked("gone") })
	w.until("what is really gone is removed", func() bool { return w.host.did("destroy shop:gone") == 1 })
	require.Zero(t, w.host.did("destroy shop:web"))
	w.stop()
	require.Zero(t, w.host.did("destroy shop:web"), "nothing is done any more")
}

// asked reports whether the API server was asked about a pod.
func (w *world) asked(name string) bool {
	for _, a := range w.api.Actions() {
		if get, ok := a.(clienttesting.GetAction); ok && get.GetVerb() == "get" && get.GetName() == name {
			return true
		}
	}
	return false
}

func TestWhatIsRemoved(t *testing.T) {
	w := newWorld(t)
	w.host.runs("shop:gone", owner("1", 0))
	w.host.runs("shop:hand", "")
	w.host.runs("shop:file", "web.yaml")
	w.host.runs("shop:cluster", pods.Owner{Cluster: "76543210", UID: "1"}.String())
	w.host.runs("deep:er:name", owner("2", 0))
	var broken atomic.Bool
	broken.Store(true)
	w.api.PrependReactor("get", "pods", func(a clienttesting.Action) (bool, runtime.Object, error) {
		return broken.Load() && a.(clienttesting.GetAction).GetName() == "gone", nil, errors.New("the API server is not there")
	})
	w.start()
	w.settled("new")
	require.Zero(t, w.host.did("destroy shop:gone"), "nobody has said that it is gone")
	broken.Store(false)
	w.until("it is removed", func() bool { return w.host.did("destroy shop:gone") == 1 })
	for _, name := range []string{"shop:hand", "shop:file", "shop:cluster", "deep:er:name"} {
		require.Equal(t, messages.StateRunning, w.host.state(name), name)
	}
}

func TestANameIsUsedByTheNextPod(t *testing.T) {
	w := newWorld(t, newPod("web", "2"))
	w.host.runs("shop:web", owner("1", 7))
	w.start()
	w.isReady("web")
	require.Equal(t, 1, w.host.did("destroy shop:web"))
	require.Equal(t, 1, w.host.did("create shop:web web:1"))
	require.Zero(t, w.pod("web").Status.ContainerStatuses[0].RestartCount, "it is another pod")
}

func TestANameOfSomebodyElse(t *testing.T) {
	w := newWorld(t, newPod("web", "1"))
	w.host.runs("shop:web", "")
	w.start()
	w.waits("web", "NameTaken")
	require.Zero(t, w.host.did("destroy shop:web"))
	w.host.ends("shop:web", messages.Exit{Known: true})
	w.isReady("web")
}

// TestDeletedWhileTheProviderWasAway: it is neither left running nor started again.
func TestDeletedWhileTheProviderWasAway(t *testing.T) {
	w := newWorld(t, newPod("web", "1"), newPod("mail", "2"))
	w.start()
	w.isReady("web")
	w.isReady("mail")
	w.stop()
	w.change("web", deletedAt(time.Now()))
	w.change("mail", deletedAt(time.Now()))
	w.host.ends("shop:mail", messages.Exit{Known: true, Code: 2})
	w.start()
	w.until("both are gone", func() bool { return w.pod("web") == nil && w.pod("mail") == nil })
	require.Equal(t, messages.StateEnded, w.host.state("shop:web"))
	w.settled("new")
	require.Equal(t, 1, w.host.did("create shop:web web:1"))
	require.Equal(t, 1, w.host.did("create shop:mail web:1"))
}

func TestADeletedPodShowsHowItEndedBeforeItGoes(t *testing.T) {
	w := newWorld(t, newPod("web", "1"))
	var last atomic.Pointer[corev1.Pod]
	w.api.PrependReactor("delete", "pods", func(clienttesting.Action) (bool, runtime.Object, error) {
		p, err := w.api.Tracker().Get(corev1.SchemeGroupVersion.WithResource("pods"), "shop", "web")
		if err == nil {
			last.Store(p.(*corev1.Pod))
		}
		return false, nil, nil
	})
	w.start()
	w.isReady("web")
	w.change("web", deletedAt(time.Now()))
	w.until("it is gone", func() bool { return w.pod("web") == nil })
	require.EqualValues(t, 15, last.Load().Status.ContainerStatuses[0].State.Terminated.Signal)
	require.Equal(t, corev1.PodFailed, last.Load().Status.Phase)
}

// TestAPodThatVanishes: its deletion by force leaves no time for anything.
func TestAPodThatVanishes(t *testing.T) {
	w := newWorld(t, newPod("web", "1"))
	w.start()
	w.isReady("web")
	require.NoError(t, w.api.CoreV1().Pods("shop").Delete(context.Background(), "web", metav1.DeleteOptions{}))
	w.until("its unikernel is removed", func() bool { return w.host.state("shop:web") == messages.StateEnded })
}

// TestAPodWhoseDeletionWasMissed: all that is known of it may be its name.
func TestAPodWhoseDeletionWasMissed(t *testing.T) {
	w := newWorld(t)
	p, err := New(Config{Client: w.api, Node: node})
	require.NoError(t, err)
	defer p.queue.ShutDown()
	p.changed(cache.DeletedFinalStateUnknown{Key: "shop/one"})
	p.changed(cache.DeletedFinalStateUnknown{Key: "shop/two", Obj: newPod("two", "2")})
	require.Equal(t, 2, p.queue.Len())
}

func TestDestroyedByHand(t *testing.T) {
	w := newWorld(t, newPod("web", "1"), newPod("job", "2", never))
	w.start()
	w.isReady("web")
	w.isReady("job")
	w.host.ends("shop:job", messages.Exit{Known: true, Signal: 15})
	w.is("job", "failed", func(p *corev1.Pod, _ corev1.ContainerStatus) bool { return p.Status.Phase == corev1.PodFailed })
	w.host.ends("shop:web", messages.Exit{Known: true, Signal: 15})
	w.is("web", "started again", func(_ *corev1.Pod, c corev1.ContainerStatus) bool { return c.RestartCount == 1 && c.Ready })
	require.EqualValues(t, 15, w.pod("web").Status.ContainerStatuses[0].LastTerminationState.Terminated.Signal)
	require.Equal(t, 1, w.host.did("create shop:job web:1"))
}

func TestACrashLoop(t *testing.T) {
	w := newWorld(t, newPod("web", "1"))
	w.start()
	w.isReady("web")
	w.host.ends("shop:web", messages.Exit{Known: true, Code: 1})
	w.is("web", "started again", func(_ *corev1.Pod, c corev1.ContainerStatus) bool { return c.RestartCount == 1 && c.Ready })
	w.host.ends("shop:web", messages.Exit{Known: true, Code: 1})
	w.waits("web", "CrashLoopBackOff")
	w.event("Warning Exited the unikernel has ended: exit 1")
	require.Contains(t, w.pod("web").Status.ContainerStatuses[0].State.Waiting.Message, "a tender that refuses")
	w.settled("new")
	require.Equal(t, 2, w.host.did("create shop:web web:1"), "it waits")
}

func TestARefusalIsShown(t *testing.T) {
	w := newWorld(t, newPod("web", "1"), newPod("mail", "2", func(p *corev1.Pod) { p.Spec.Containers[0].Image = "missing:1" }))
	w.host.refuse("web", errors.New("no tender was found"))
	w.start()
	w.waits("web", "CreateContainerError")
	w.waits("mail", "ErrImagePull")
	w.settled("new")
	require.Equal(t, "cannot create the unikernel: no tender was found", w.pod("web").Status.ContainerStatuses[0].State.Waiting.Message)
	require.Equal(t, corev1.PodPending, w.pod("web").Status.Phase)
	require.Equal(t, "cannot get the image missing:1: there is no such image", w.pod("mail").Status.ContainerStatuses[0].State.Waiting.Message)
	announced := w.pod("web").Status.ContainerStatuses[0].ContainerID
	tried := w.host.did("create shop:web web:1")
	w.until("it is tried again", func() bool { return w.host.did("create shop:web web:1") > tried })
	require.Equal(t, announced, w.pod("web").Status.ContainerStatuses[0].ContainerID, "a status that changed with each try would have it tried all the time")
	w.host.refuse("", nil)
	w.isReady("web")
	require.Zero(t, w.pod("web").Status.ContainerStatuses[0].RestartCount)
}

// TestKilledBetweenTheStatusAndTheCreate: the run is begun that the status has announced.
func TestKilledBetweenTheStatusAndTheCreate(t *testing.T) {
	w := newWorld(t, newPod("web", "1", func(p *corev1.Pod) {
		p.Status.ContainerStatuses = []corev1.ContainerStatus{{
			Name: "web", Image: "web:1", ContainerID: pods.Run{Former: 3, Asked: time.Now()}.String(), RestartCount: 3,
			State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "ContainerCreating"}},
		}}
	}))
	w.start()
	w.isReady("web")
	require.EqualValues(t, 3, w.pod("web").Status.ContainerStatuses[0].RestartCount)
}

// TestAStatusThatCannotBeWritten: nothing is created that is not announced.
func TestAStatusThatCannotBeWritten(t *testing.T) {
	w := newWorld(t, newPod("web", "1"))
	var tries atomic.Int32
	w.api.PrependReactor("update", "pods", func(clienttesting.Action) (bool, runtime.Object, error) {
		if tries.Add(1) > 2 {
			return false, nil, nil
		}
		require.Zero(t, w.host.did("create shop:web web:1"))
		return true, nil, errors.New("somebody else has changed it")
	})
	w.start()
	w.isReady("web")
}

func TestANewImageReplacesTheOldOne(t *testing.T) {
	w := newWorld(t, newPod("web", "1"))
	w.start()
	w.isReady("web")
	w.change("web", func(p *corev1.Pod) { p.Spec.Containers[0].Image = "web:2" })
	w.is("web", "replaced", func(_ *corev1.Pod, c corev1.ContainerStatus) bool {
		return c.Image == "web:2" && c.Ready && c.RestartCount == 1
	})
	require.Equal(t, 1, w.host.did("destroy shop:web"))
	require.Equal(t, 1, w.host.did("create shop:web web:2"))
}

func TestWhatIsNotPossibleFails(t *testing.T) {
	w := newWorld(t, newPod("web", "1", func(p *corev1.Pod) { p.Spec.HostNetwork = true }))
	w.start()
	w.is("web", "failed", func(p *corev1.Pod, _ corev1.ContainerStatus) bool { return p.Status.Phase == corev1.PodFailed })
	require.Equal(t, "Unsupported", w.pod("web").Status.Reason)
	require.Contains(t, w.pod("web").Status.Message, "hostNetwork is not possible")
	w.event("hostNetwork is not possible")
	w.settled("new")
	require.Zero(t, w.host.did("create shop:web web:1"))
}

func TestANameThatIsTooLong(t *testing.T) {
	long := "a23456789012345678901234567890123456789012345678901234567890.1234"
	w := newWorld(t, newPod(long, "1"))
	w.start()
	w.is(long, "failed", func(p *corev1.Pod, _ corev1.ContainerStatus) bool { return p.Status.Phase == corev1.PodFailed })
	w.change(long, deletedAt(time.Now()))
	w.until("it is gone", func() bool { return w.pod(long) == nil })
}

func TestAConfigMapThatComesLater(t *testing.T) {
	w := newWorld(t, newPod("web", "1", func(p *corev1.Pod) {
		p.Annotations = map[string]string{pods.EnvAnnotation: pods.EnvAsOptions}
		p.Spec.Containers[0].EnvFrom = []corev1.EnvFromSource{{ConfigMapRef: &corev1.ConfigMapEnvSource{LocalObjectReference: corev1.LocalObjectReference{Name: "site"}}}}
	}))
	w.start()
	w.waits("web", "CreateContainerConfigError")
	_, err := w.api.CoreV1().ConfigMaps("shop").Create(context.Background(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "site", Namespace: "shop"}}, metav1.CreateOptions{})
	require.NoError(t, err)
	w.isReady("web")
}

func withScratch(p *corev1.Pod) {
	size := resource.MustParse("1Mi")
	p.Spec.Volumes = []corev1.Volume{{Name: "tmp", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{SizeLimit: &size}}}}
	p.Spec.Containers[0].VolumeMounts = []corev1.VolumeMount{{Name: "tmp", MountPath: "/scratch"}}
}

func TestScratchDevicesComeAndGoWithThePod(t *testing.T) {
	w := newWorld(t, newPod("web", "1", withScratch), newPod("job", "2", withScratch, never))
	left, err := messages.ParseName("shop:gone:tmp")
	require.NoError(t, err)
	require.NoError(t, w.host.MakeBlock(context.Background(), left, 1, owner("9", 0)))
	w.start()
	w.isReady("web")
	w.isReady("job")
	w.until("what is left of another pod is removed", func() bool { return len(w.host.blockNames()) == 2 })
	require.Equal(t, []string{"shop:job:tmp", "shop:web:tmp"}, w.host.blockNames())
	w.host.ends("shop:job", messages.Exit{Known: true})
	w.is("job", "over", func(p *corev1.Pod, _ corev1.ContainerStatus) bool { return p.Status.Phase == corev1.PodSucceeded })
	w.until("that of the job is removed", func() bool { return len(w.host.blockNames()) == 1 })
	w.change("web", deletedAt(time.Now()))
	w.until("all are removed", func() bool { return len(w.host.blockNames()) == 0 && w.pod("web") == nil })
}

func TestAClaimIsABlockDevice(t *testing.T) {
	w := newWorld(t, newPod("web", "1", func(p *corev1.Pod) {
		p.Spec.Volumes = []corev1.Volume{{Name: "data", VolumeSource: corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: "orders"}}}}
		p.Spec.Containers[0].VolumeDevices = []corev1.VolumeDevice{{Name: "data", DevicePath: "storage"}}
	}))
	w.start()
	w.waits("web", "CreateContainerConfigError")
	ctx := context.Background()
	_, err := w.api.CoreV1().PersistentVolumes().Create(ctx, &corev1.PersistentVolume{ObjectMeta: metav1.ObjectMeta{Name: "disk"}, Spec: corev1.PersistentVolumeSpec{
		PersistentVolumeSource: corev1.PersistentVolumeSource{CSI: &corev1.CSIPersistentVolumeSource{Driver: pods.Driver, VolumeHandle: "shop:orders"}},
	}}, metav1.CreateOptions{})
	require.NoError(t, err)
	_, err = w.api.CoreV1().PersistentVolumeClaims("shop").Create(ctx, &corev1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{Name: "orders", Namespace: "shop"},
		Spec:       corev1.PersistentVolumeClaimSpec{VolumeName: "disk"}, Status: corev1.PersistentVolumeClaimStatus{Phase: corev1.ClaimBound},
	}, metav1.CreateOptions{})
	require.NoError(t, err)
	w.isReady("web")
}

func TestADeadline(t *testing.T) {
	w := newWorld(t, newPod("web", "1", func(p *corev1.Pod) {
		p.Spec.ActiveDeadlineSeconds = new(int64)
		*p.Spec.ActiveDeadlineSeconds = 60
	}))
	w.start()
	w.isReady("web")
	w.change("web", func(p *corev1.Pod) {
		long := metav1.NewTime(time.Now().Add(-time.Minute))
		p.Status.StartTime = &long
	})
	w.until("it is destroyed", func() bool { return w.host.state("shop:web") == messages.StateEnded })
	require.Equal(t, "DeadlineExceeded", w.pod("web").Status.Reason)
	require.Equal(t, corev1.PodFailed, w.pod("web").Status.Phase)
}

// probeOf returns a probe by HTTP of a server, each second.
func probeOf(t *testing.T, server *httptest.Server) *corev1.Probe {
	at, err := url.Parse(server.URL)
	require.NoError(t, err)
	port, err := strconv.Atoi(at.Port())
	require.NoError(t, err)
	return &corev1.Probe{PeriodSeconds: 1, ProbeHandler: corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Host: at.Hostname(), Port: intstr.FromInt(port), Path: "/ready"}}}
}

func TestProbes(t *testing.T) {
	var ready, alive atomic.Bool
	alive.Store(true)
	server := func(ok *atomic.Bool) *httptest.Server {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if !ok.Load() || r.URL.Path != "/ready" {
				w.WriteHeader(http.StatusServiceUnavailable)
			}
		}))
		t.Cleanup(s.Close)
		return s
	}
	w := newWorld(t, newPod("web", "1", func(p *corev1.Pod) {
		c := &p.Spec.Containers[0]
		c.ReadinessProbe, c.LivenessProbe, c.StartupProbe = probeOf(t, server(&ready)), probeOf(t, server(&alive)), probeOf(t, server(&alive))
	}))
	w.start()
	w.is("web", "started, and not ready", func(_ *corev1.Pod, c corev1.ContainerStatus) bool { return c.Started != nil && *c.Started && !c.Ready })
	ready.Store(true)
	w.isReady("web")

	w.stop()
	ready.Store(false)
	w.start()
	w.is("web", "not ready", func(_ *corev1.Pod, c corev1.ContainerStatus) bool { return c.State.Running != nil && !c.Ready })
	ready.Store(true)
	w.isReady("web")

	alive.Store(false)
	w.is("web", "destroyed and started again", func(_ *corev1.Pod, c corev1.ContainerStatus) bool { return c.RestartCount >= 1 })
	w.event("the liveness probe failed: the answer is 503")
}
