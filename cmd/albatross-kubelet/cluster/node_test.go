package cluster

import (
	"context"
	"net/http/httptest"
	"os"
	"path/filepath"
	goruntime "runtime"
	"strings"
	"testing"
	"time"

	ggcr "github.com/google/go-containerregistry/pkg/registry"
	"github.com/stretchr/testify/require"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
	appsv1 "k8s.io/api/apps/v1"
	authentication "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"

	"albatross/cmd/albatross-kubelet/daemon"
	"albatross/messages"
	"albatross/sockets/client"
	"albatross/sockets/registry"
	"albatross/test/guests"
)

// The node in these tests. The API server does not pass requests on to addresses of the loopback range.
const (
	nodeName = "host-albatross" // as daemonset.yaml names it
	nodeIP   = "192.0.2.10"
)

// manifests is the directory of our manifests.
const manifests = "../../../packaging/kubernetes"

// ownAddress gives this machine, which is a network namespace, the address of the node.
func ownAddress(t *testing.T) {
	t.Helper()
	lo, err := netlink.LinkByName("lo")
	require.NoError(t, err)
	address, err := netlink.ParseAddr(nodeIP + "/32")
	require.NoError(t, err)
	require.NoError(t, netlink.AddrReplace(lo, address))
}

// A node is a host with a daemon and a provider, in a cluster.
type node struct {
	*controlPlane
	daemon    daemon.Daemon
	albatross *process
	provider  *process
	images    string // the registry
	networks  []string
}

// startHost starts a daemon, and makes what our manifests say.
func startHost(t *testing.T, c *controlPlane) *node {
	t.Helper()
	ownAddress(t)
	dir, err := os.MkdirTemp("", "host")
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	n := &node{controlPlane: c, daemon: daemon.Daemon{Dir: dir}}
	n.albatross = program(t, dir, "albatrossd", filepath.Join(bin, "albatrossd"), "--tmpdir", dir, "--dbdir", filepath.Join(dir, "db"), "--cgroup=", "--tender=builtin", "--no-keeper")
	t.Cleanup(n.destroyAll)
	c.until("the daemon answers", func(ctx context.Context) bool { return n.daemon.Ping(ctx) == nil })
	server := httptest.NewServer(ggcr.New())
	t.Cleanup(server.Close)
	n.images = strings.TrimPrefix(server.URL, "http://")
	for _, file := range []string{"rbac.yaml", "storage.yaml", "daemonset.yaml", "deployment.yaml"} {
		n.apply(file)
	}
	return n
}

// network makes a network for pods.
func (n *node) network(name string, asked messages.NetworkAsk) {
	n.t.Helper()
	asked.Backend = messages.KernelNetwork
	n.command(name, messages.NetworkCreate{Asked: asked})
	n.networks = append(n.networks, name)
}

// provide starts albatross-kubelet as a manifest does, with arguments that depend on the test.
func (n *node) provide(manifest string, args ...string) {
	n.t.Helper()
	all := append([]string{filepath.Join(bin, "albatross-kubelet")}, arguments(n.t, manifest)...)
	all = append(all, "--kubeconfig", n.account(), "--client-ca", n.authority.file, "--target=spt")
	n.provider = program(n.t, n.daemon.Dir, "provider", append(all, args...)...)
	n.until("the node is ready", func(ctx context.Context) bool {
		return n.nodeIs(ctx, corev1.ConditionTrue)
	})
}

// arguments returns the arguments in a manifest, on our node.
func arguments(t *testing.T, manifest string) []string {
	t.Helper()
	for _, document := range documents(t, filepath.Join(manifests, manifest)) {
		var template corev1.PodTemplateSpec
		switch o := decode(t, document).(type) {
		case *appsv1.DaemonSet:
			template = o.Spec.Template
		case *appsv1.Deployment:
			template = o.Spec.Template
		default:
			continue
		}
		text := strings.Join(template.Spec.Containers[0].Args, "\n")
		return strings.Split(strings.NewReplacer("$(HOST)", "host", "$(ADDRESS)", nodeIP).Replace(text), "\n")
	}
	require.FailNow(t, "there are no arguments in "+manifest)
	return nil
}

// startNode makes the host a node, beside its daemon.
func startNode(t *testing.T, c *controlPlane) *node {
	t.Helper()
	n := startHost(t, c)
	n.network("pods", messages.NetworkAsk{})
	n.provide("daemonset.yaml", "--tmpdir", n.daemon.Dir)
	return n
}

func (n *node) nodeIs(ctx context.Context, ready corev1.ConditionStatus) bool {
	node, err := n.admin.CoreV1().Nodes().Get(ctx, nodeName, metav1.GetOptions{})
	if err != nil {
		return false
	}
	for _, c := range node.Status.Conditions {
		if c.Type == corev1.NodeReady {
			return c.Status == ready
		}
	}
	return false
}

// command gives the daemon a command about a name.
func (n *node) command(name string, command messages.Command) {
	n.t.Helper()
	parsed, err := messages.ParseName(name)
	require.NoError(n.t, err)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	conn, err := client.Dial(ctx, filepath.Join(n.daemon.Dir, "util", "control.sock"))
	require.NoError(n.t, err)
	defer conn.Close()
	require.NoError(n.t, conn.Do(ctx, parsed, command))
}

// destroyAll destroys what is left in the daemon.
func (n *node) destroyAll() {
	if n.provider != nil {
		n.provider.stop(unix.SIGKILL)
	}
	if n.albatross.cmd == nil {
		n.albatross.start()
		n.until("the daemon answers", func(ctx context.Context) bool { return n.daemon.Ping(ctx) == nil })
	}
	list, err := n.daemon.List(context.Background(), messages.Root)
	require.NoError(n.t, err)
	for _, u := range list {
		require.NoError(n.t, n.daemon.Destroy(context.Background(), u.Name))
	}
	for _, name := range n.networks {
		n.command(name, messages.NetworkRemove{})
	}
	n.albatross.stop(unix.SIGTERM)
}

// apply makes what one of our manifests says.
func (n *node) apply(file string) {
	n.t.Helper()
	ctx := context.Background()
	for _, document := range documents(n.t, filepath.Join(manifests, file)) {
		object := decode(n.t, document)
		require.NoError(n.t, n.make(ctx, object), "%T", object)
	}
}

// strict refuses what it does not know, such as a misspelt field.
var strict = serializer.NewCodecFactory(scheme.Scheme, serializer.EnableStrict).UniversalDeserializer()

func decode(t *testing.T, document string) runtime.Object {
	t.Helper()
	object, _, err := strict.Decode([]byte(document), nil, nil)
	require.NoError(t, err)
	return object
}

func (n *node) make(ctx context.Context, object runtime.Object) (err error) {
	o := metav1.CreateOptions{}
	switch o2 := object.(type) {
	case *corev1.Namespace:
		_, err = n.admin.CoreV1().Namespaces().Create(ctx, o2, o)
	case *corev1.ServiceAccount:
		_, err = n.admin.CoreV1().ServiceAccounts(o2.Namespace).Create(ctx, o2, o)
	case *rbacv1.ClusterRole:
		_, err = n.admin.RbacV1().ClusterRoles().Create(ctx, o2, o)
	case *rbacv1.ClusterRoleBinding:
		_, err = n.admin.RbacV1().ClusterRoleBindings().Create(ctx, o2, o)
	case *rbacv1.Role:
		n.until("the namespace of leases exists", func(ctx context.Context) bool {
			_, err := n.admin.CoreV1().Namespaces().Get(ctx, o2.Namespace, metav1.GetOptions{})
			return err == nil
		})
		_, err = n.admin.RbacV1().Roles(o2.Namespace).Create(ctx, o2, o)
	case *rbacv1.RoleBinding:
		_, err = n.admin.RbacV1().RoleBindings(o2.Namespace).Create(ctx, o2, o)
	case *appsv1.DaemonSet:
		_, err = n.admin.AppsV1().DaemonSets(o2.Namespace).Create(ctx, o2, o)
	case *appsv1.Deployment:
		_, err = n.admin.AppsV1().Deployments(o2.Namespace).Create(ctx, o2, o)
	case *storagev1.CSIDriver:
		_, err = n.admin.StorageV1().CSIDrivers().Create(ctx, o2, o)
	case *storagev1.StorageClass:
		_, err = n.admin.StorageV1().StorageClasses().Create(ctx, o2, o)
	default:
		require.FailNow(n.t, "no test knows how to make this", "%T", object)
	}
	return err
}

// account returns the kubeconfig of the service account that our manifests make.
func (n *node) account() string {
	n.t.Helper()
	hours := int64(24 * 60 * 60)
	token, err := n.admin.CoreV1().ServiceAccounts("albatross").CreateToken(context.Background(), "albatross-kubelet",
		&authentication.TokenRequest{Spec: authentication.TokenRequestSpec{ExpirationSeconds: &hours}}, metav1.CreateOptions{})
	require.NoError(n.t, err)
	return n.kubeconfig("provider", &rest.Config{Host: apiServer, BearerToken: token.Status.Token, TLSClientConfig: rest.TLSClientConfig{CAFile: n.authority.file}})
}

// push puts a guest into the registry, under a tag, and returns the image as pods have it.
func (n *node) push(guest, tag string, arguments ...string) string {
	n.t.Helper()
	image := n.images + "/" + guest + ":" + tag
	reference, err := registry.ParseReference(registry.Scheme + image)
	require.NoError(n.t, err)
	c := registry.New(registry.Options{})
	defer c.Close()
	_, err = c.Push(context.Background(), reference, []registry.Image{{Target: "spt", Architecture: goruntime.GOARCH, Contents: guests.Image(guest, "spt"), Memory: 16, Arguments: arguments}}, nil)
	require.NoError(n.t, err)
	return image
}

// tolerating makes the pods of a template come to the node.
func tolerating(spec corev1.PodSpec) corev1.PodSpec {
	spec.Tolerations = []corev1.Toleration{{Key: "virtual-kubelet.io/provider", Operator: corev1.TolerationOpExists}}
	return spec
}

// limited limits the memory of a container to 16 MB.
func limited(c corev1.Container) corev1.Container {
	c.Resources.Limits = corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("16Mi")}
	return c
}

// deploy makes a deployment of servers of HTTP that are probed.
func (n *node) deploy(name, image string, replicas int32) {
	n.t.Helper()
	labels := map[string]string{"app": name}
	probe := &corev1.Probe{PeriodSeconds: 1, FailureThreshold: 3, ProbeHandler: corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: "/", Port: intstr.FromInt(80)}}}
	_, err := n.admin.AppsV1().Deployments("default").Create(context.Background(), &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: appsv1.DeploymentSpec{
			Replicas: &replicas, Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: tolerating(corev1.PodSpec{
				Containers: []corev1.Container{limited(corev1.Container{Name: "web", Image: image, ReadinessProbe: probe})},
			})},
		},
	}, metav1.CreateOptions{})
	require.NoError(n.t, err)
}

// scale changes how many pods a deployment has.
func (n *node) change(name string, change func(*appsv1.Deployment)) {
	n.t.Helper()
	n.until("the deployment is changed", func(ctx context.Context) bool {
		d, err := n.admin.AppsV1().Deployments("default").Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return false
		}
		change(d)
		_, err = n.admin.AppsV1().Deployments("default").Update(ctx, d, metav1.UpdateOptions{})
		return err == nil
	})
}

// settles waits until a deployment is as it is to be, with so many pods, and returns how long it took.
func (n *node) settles(name string, replicas int32) time.Duration {
	n.t.Helper()
	begun := time.Now()
	var last appsv1.DeploymentStatus
	n.t.Cleanup(func() {
		if n.t.Failed() {
			n.t.Logf("the deployment was last seen as %+v", last)
		}
	})
	n.until("the deployment settles", func(ctx context.Context) bool {
		d, err := n.admin.AppsV1().Deployments("default").Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return false
		}
		last = d.Status
		s := d.Status
		return s.ObservedGeneration >= d.Generation && s.ReadyReplicas == replicas && s.UpdatedReplicas == replicas && s.Replicas == replicas && n.runs(ctx, name) == int(replicas)
	})
	return time.Since(begun)
}

// runs returns how many unikernels of pods run whose names begin with a word.
func (n *node) runs(ctx context.Context, name string) (count int) {
	list, err := n.daemon.List(ctx, "k8s:default")
	if err != nil {
		return -1
	}
	for _, u := range list {
		if u.State == messages.StateRunning && strings.HasPrefix(string(u.Name.Label), name+"-") {
			count++
		}
	}
	return count
}

// pids returns the processes of all unikernels by their names.
func (n *node) pids() map[string]int {
	n.t.Helper()
	pids := map[string]int{}
	list, err := n.daemon.List(context.Background(), messages.Root)
	require.NoError(n.t, err)
	for _, u := range list {
		if u.PID != 0 {
			pids[u.Name.String()] = u.PID
		}
	}
	return pids
}
