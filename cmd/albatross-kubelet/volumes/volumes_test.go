package volumes

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/client-go/tools/record"

	"albatross/cmd/albatross-kubelet/pods"
	"albatross/messages"
)

// patience bounds what must happen.
const patience = 30 * time.Second

// A world is an API server and a daemon that are made up, and a provisioner between them.
type world struct {
	t      *testing.T
	api    *fake.Clientset
	events *record.FakeRecorder

	mu      sync.Mutex
	blocks  map[string]string // owners by names; guarded by mu
	refusal error             // of the next block device; guarded by mu
}

func newWorld(t *testing.T) *world {
	t.Helper()
	retain := corev1.PersistentVolumeReclaimRetain
	return &world{t: t, blocks: map[string]string{}, events: record.NewFakeRecorder(1000), api: fake.NewClientset(
		&storagev1.StorageClass{ObjectMeta: metav1.ObjectMeta{Name: "albatross"}, Provisioner: pods.Driver},
		&storagev1.StorageClass{ObjectMeta: metav1.ObjectMeta{Name: "kept"}, Provisioner: pods.Driver, ReclaimPolicy: &retain},
	)}
}

// serve starts a provisioner, which ends when the test calls the result.
func (w *world) serve() (stop func()) {
	w.t.Helper()
	p, err := New(Config{Client: w.api, Host: w, Events: w.events, Node: "host", Path: "k8s", Cluster: "01234567", Log: slog.New(slog.DiscardHandler)})
	require.NoError(w.t, err)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- p.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		require.NoError(w.t, <-ended)
	})
	w.t.Cleanup(stop)
	return stop
}

func (w *world) MakeBlock(_ context.Context, name messages.Name, size int, owner string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.refusal != nil {
		err := w.refusal
		w.refusal = nil
		return err
	}
	w.blocks[name.String()] = owner
	return nil
}

func (w *world) RemoveBlock(_ context.Context, name messages.Name, owner string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.blocks[name.String()] == owner {
		delete(w.blocks, name.String())
	}
	return nil
}

func (w *world) has(block string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.blocks[block] != ""
}

func (w *world) until(what string, holds func() bool) {
	w.t.Helper()
	for deadline := time.Now().Add(patience); !holds(); time.Sleep(2 * time.Millisecond) {
		require.True(w.t, time.Now().Before(deadline), what)
	}
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

// claim makes a claim for which the control plane has chosen a node.
func (w *world) claim(name, class, node string, changes ...func(*corev1.PersistentVolumeClaim)) {
	w.t.Helper()
	block := corev1.PersistentVolumeBlock
	c := &corev1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name, UID: types.UID("uid-" + name), Annotations: map[string]string{
			selectedNode: node, storageProvisioner: pods.Driver,
		}},
		Spec: corev1.PersistentVolumeClaimSpec{
			StorageClassName: &class, VolumeMode: &block, AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
			Resources: corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1500Ki")}},
		},
	}
	for _, change := range changes {
		change(c)
	}
	_, err := w.api.CoreV1().PersistentVolumeClaims("shop").Create(w.t.Context(), c, metav1.CreateOptions{})
	require.NoError(w.t, err)
}

func (w *world) volume(name string) *corev1.PersistentVolume {
	w.t.Helper()
	v, err := w.api.CoreV1().PersistentVolumes().Get(w.t.Context(), name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	require.NoError(w.t, err)
	return v
}

// volumeResource is what the API server calls volumes.
var volumeResource = corev1.SchemeGroupVersion.WithResource("persistentvolumes")

// released deletes a claim, and does what the control plane does about its volume.
func (w *world) released(claim string) {
	w.t.Helper()
	require.NoError(w.t, w.api.CoreV1().PersistentVolumeClaims("shop").Delete(w.t.Context(), claim, metav1.DeleteOptions{}))
	v := w.volume("pvc-uid-" + claim)
	v.Status.Phase = corev1.VolumeReleased
	_, err := w.api.CoreV1().PersistentVolumes().UpdateStatus(w.t.Context(), v, metav1.UpdateOptions{})
	require.NoError(w.t, err)
}

// TestAClaimGetsABlockDevice, and loses it when it is deleted; meanwhile another provisioner has come.
func TestAClaimGetsABlockDevice(t *testing.T) {
	w := newWorld(t)
	stop := w.serve()
	w.claim("orders", "albatross", "host")
	w.until("there is a volume", func() bool { return w.volume("pvc-uid-orders") != nil })
	require.True(t, w.has("k8s:shop:pvc-uid-orders"))
	v := w.volume("pvc-uid-orders")
	require.Equal(t, "2Mi", v.Spec.Capacity.Storage().String(), "whole MB")
	require.Equal(t, types.UID("uid-orders"), v.Spec.ClaimRef.UID)
	name, err := pods.BlockOf("k8s", v)
	require.NoError(t, err)
	require.Equal(t, "k8s:shop:pvc-uid-orders", name.String(), "a pod finds it")
	w.event("the block device k8s:shop:pvc-uid-orders is made")

	stop()
	w.released("orders")
	w.serve()
	w.until("the volume is gone", func() bool { return w.volume("pvc-uid-orders") == nil })
	require.False(t, w.has("k8s:shop:pvc-uid-orders"))
}

// TestABlockDeviceIsKept where the class says so, also when somebody deletes the volume.
func TestABlockDeviceIsKept(t *testing.T) {
	w := newWorld(t)
	stop := w.serve()
	w.claim("orders", "kept", "host")
	w.until("there is a volume", func() bool { return w.volume("pvc-uid-orders") != nil })
	stop()
	now := metav1.Now()
	v := w.volume("pvc-uid-orders")
	require.NoError(t, w.api.Tracker().Delete(corev1.SchemeGroupVersion.WithResource("persistentvolumes"), "", v.Name))
	v.DeletionTimestamp, v.Status.Phase = &now, corev1.VolumeReleased
	require.NoError(t, w.api.Tracker().Add(v))
	w.serve()
	w.until("our finalizer is gone", func() bool { v := w.volume("pvc-uid-orders"); return v == nil || len(v.Finalizers) == 0 })
	require.True(t, w.has("k8s:shop:pvc-uid-orders"))
}

// TestARefusalIsTold, and tried again.
func TestARefusalIsTold(t *testing.T) {
	w := newWorld(t)
	w.refusal = errors.New("no room")
	w.serve()
	w.claim("orders", "albatross", "host")
	w.event("cannot make the block device k8s:shop:pvc-uid-orders: no room")
	w.until("there is a volume", func() bool { return w.volume("pvc-uid-orders") != nil })
}

func TestClaimsThatAreNoneOfOurs(t *testing.T) {
	w := newWorld(t)
	w.serve()
	w.claim("elsewhere", "albatross", "another")
	w.claim("foreign", "albatross", "host", func(c *corev1.PersistentVolumeClaim) { c.Annotations[storageProvisioner] = "another" })
	w.claim("bound", "albatross", "host", func(c *corev1.PersistentVolumeClaim) { c.Spec.VolumeName = "v" })
	for says, change := range map[string]func(*corev1.PersistentVolumeClaim){
		"volumeMode must be Block":                   func(c *corev1.PersistentVolumeClaim) { c.Spec.VolumeMode = nil },
		"a selector or a dataSource is not possible": func(c *corev1.PersistentVolumeClaim) { c.Spec.Selector = &metav1.LabelSelector{} },
		"the access mode ReadWriteMany is not possible": func(c *corev1.PersistentVolumeClaim) {
			c.Spec.AccessModes = []corev1.PersistentVolumeAccessMode{corev1.ReadWriteMany}
		},
	} {
		w.claim("wrong", "albatross", "host", change)
		w.event(says)
		require.NoError(t, w.api.CoreV1().PersistentVolumeClaims("shop").Delete(t.Context(), "wrong", metav1.DeleteOptions{}))
	}
	w.claim("right", "albatross", "host")
	w.until("the last claim has its volume", func() bool { return w.volume("pvc-uid-right") != nil })
	w.mu.Lock()
	defer w.mu.Unlock()
	require.Len(t, w.blocks, 1)
}

// TestVolumesOfOthersAreLeftAlone: those that an administrator has made, and those of other nodes.
func TestVolumesOfOthersAreLeftAlone(t *testing.T) {
	here := place{node: "host", path: "k8s", cluster: "01234567"}
	block := corev1.PersistentVolumeBlock
	class := "albatross"
	claim := &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "c", UID: "u"},
		Spec: corev1.PersistentVolumeClaimSpec{VolumeMode: &block, StorageClassName: &class}}
	made := func() *corev1.PersistentVolume {
		return here.volume(claim, &storagev1.StorageClass{ObjectMeta: metav1.ObjectMeta{Name: class}}, 1)
	}
	require.True(t, here.ours(made()))
	require.False(t, place{node: "another"}.ours(made()))
	for what, change := range map[string]func(*corev1.PersistentVolume){
		"by hand":          func(v *corev1.PersistentVolume) { v.Annotations = nil },
		"without a claim":  func(v *corev1.PersistentVolume) { v.Spec.ClaimRef = nil },
		"of another kind":  func(v *corev1.PersistentVolume) { v.Spec.CSI = nil },
		"without affinity": func(v *corev1.PersistentVolume) { v.Spec.NodeAffinity = nil },
	} {
		v := made()
		change(v)
		require.False(t, here.ours(v), what)
	}
}
