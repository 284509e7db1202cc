package hostnode_test

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	"albatross/cmd/albatross-kubelet/hostnode"
	"albatross/messages"
)

var load = hostnode.Load{Policy: messages.Policy{Unikernels: 20, Memory: 1024, CPUIDs: []int{0, 2}}, Foreign: 3, Memory: 100}

func description() hostnode.Description {
	taint, _ := hostnode.ParseTaint(hostnode.DefaultTaint)
	return hostnode.Description{Name: "host", IP: "192.0.2.1", Port: 10250, Version: "1", Taints: []corev1.Taint{taint}, MaxPods: 1000,
		Subnets: []netip.Prefix{netip.MustParsePrefix("10.1.0.0/24")}}
}

func TestTheNode(t *testing.T) {
	n := description().New(load, time.Now())
	quantities := func(list corev1.ResourceList) []string {
		return []string{list.Cpu().String(), list.Memory().String(), list.Pods().String()}
	}
	require.Equal(t, []string{"2", "1Gi", "20"}, quantities(n.Status.Capacity))
	require.Equal(t, []string{"2", "924Mi", "17"}, quantities(n.Status.Allocatable), "what was made by hand is used")
	require.Equal(t, "10.1.0.0/24", n.Spec.PodCIDR)
	require.Equal(t, corev1.Taint{Key: "virtual-kubelet.io/provider", Value: "albatross", Effect: corev1.TaintEffectNoSchedule}, n.Spec.Taints[0])
	require.Equal(t, "solo5", n.Labels["kubernetes.io/os"])
	require.EqualValues(t, 10250, n.Status.DaemonEndpoints.KubeletEndpoint.Port)
	addresses := func(d hostnode.Description) (list []string) {
		for _, a := range d.New(load, time.Now()).Status.Addresses {
			list = append(list, string(a.Type)+" "+a.Address)
		}
		return list
	}
	d := description()
	d.HostIP = d.IP
	require.Equal(t, []string{"Hostname host", "InternalIP 192.0.2.1"}, addresses(d))
	d.HostIP = "198.51.100.1"
	require.Equal(t, []string{"Hostname host", "InternalIP 192.0.2.1", "ExternalIP 198.51.100.1"}, addresses(d), "of another machine")
	endless := description().New(hostnode.Load{Policy: messages.Policy{Unikernels: messages.MaxInt, Memory: messages.MaxInt}}, time.Now())
	require.Equal(t, []string{"0", "1Pi", "1k"}, quantities(endless.Status.Capacity))
}

func TestTaints(t *testing.T) {
	taint, err := hostnode.ParseTaint("key:NoExecute")
	require.NoError(t, err)
	require.Equal(t, corev1.Taint{Key: "key", Effect: corev1.TaintEffectNoExecute}, taint)
	for text, says := range map[string]string{
		"key":       `"key" is not KEY=VALUE:EFFECT`,
		"=v:x":      `"=v:x" is not KEY=VALUE:EFFECT`,
		"key:Never": "the effect is NoSchedule, PreferNoSchedule or NoExecute",
	} {
		_, err := hostnode.ParseTaint(text)
		require.EqualError(t, err, says)
	}
}

// keep keeps a node in an API server that is made up, until the test ends.
func keep(t *testing.T, api *fake.Clientset, ping func(context.Context) error) {
	t.Helper()
	k := &hostnode.Keeper{
		Client: api, Description: description(), Ping: ping, Log: slog.New(slog.DiscardHandler), Now: time.Now,
		Status: 50 * time.Millisecond, Again: 10 * time.Millisecond,
		Load: func(context.Context) (hostnode.Load, error) { return load, nil },
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		k.Run(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		<-ended
	})
}

func until(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !holds(); time.Sleep(5 * time.Millisecond) {
		require.True(t, time.Now().Before(deadline), "%s: it does not happen", what)
	}
}

func there(context.Context) error { return nil }

// exists reports whether there is a node with a lease.
func exists(api *fake.Clientset) bool {
	_, err := api.CoreV1().Nodes().Get(context.Background(), "host", metav1.GetOptions{})
	_, err2 := api.CoordinationV1().Leases(corev1.NamespaceNodeLease).Get(context.Background(), "host", metav1.GetOptions{})
	return errors.Join(err, err2) == nil
}

func TestTheNodeIsRegistered(t *testing.T) {
	api := fake.NewClientset()
	var failures atomic.Int32
	api.PrependReactor("create", "nodes", func(clienttesting.Action) (bool, runtime.Object, error) {
		return failures.Add(1) == 1, nil, errors.New("the API server is not ready")
	})
	keep(t, api, there)
	until(t, "it is registered", func() bool { return exists(api) })
	require.EqualValues(t, 2, failures.Load(), "it was tried again")
}

func TestANodeThatIsRemovedComesBack(t *testing.T) {
	api := fake.NewClientset()
	keep(t, api, there)
	until(t, "it is registered", func() bool { return exists(api) })
	require.NoError(t, api.CoreV1().Nodes().Delete(t.Context(), "host", metav1.DeleteOptions{}))
	until(t, "it is back", func() bool { return exists(api) })
}

// TestASilentDaemonIsNoNode: the control plane hears nothing while the daemon does not answer.
func TestASilentDaemonIsNoNode(t *testing.T) {
	api := fake.NewClientset()
	var silent atomic.Bool
	var asked atomic.Int32
	silent.Store(true)
	keep(t, api, func(context.Context) error {
		asked.Add(1)
		if silent.Load() {
			return errors.New("nobody is there")
		}
		return nil
	})
	until(t, "the daemon is asked", func() bool { return asked.Load() > 0 })
	require.False(t, exists(api))
	silent.Store(false)
	until(t, "it is registered", func() bool { return exists(api) })
}
