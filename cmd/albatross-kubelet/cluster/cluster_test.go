package cluster

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"albatross/messages"
)

// TestDeployment: unikernels of a deployment come, multiply, are replaced, go on whoever is killed, and
// leave a node that is drained.
func TestDeployment(t *testing.T) {
	n := startNode(t, startControlPlane(t))
	n.awaitAccount("default")
	first, second := n.push("web", "1"), n.push("web", "2", "second")
	n.deploy("web", first, 20)
	t.Logf("20 pods are ready after %v", n.settles("web", 20))
	n.change("web", func(d *appsv1.Deployment) { *d.Spec.Replicas = 50 })
	t.Logf("30 more are ready after %v", n.settles("web", 50))
	n.change("web", func(d *appsv1.Deployment) { *d.Spec.Replicas = 20 })
	t.Logf("30 are gone after %v", n.settles("web", 20))
	n.change("web", func(d *appsv1.Deployment) { d.Spec.Template.Spec.Containers[0].Image = second })
	t.Logf("20 are replaced after %v", n.settles("web", 20))

	before := n.pids()
	n.provider.stop(unix.SIGKILL)
	n.provider.start()
	n.change("web", func(d *appsv1.Deployment) { *d.Spec.Replicas = 21 })
	n.settles("web", 21)
	n.isSame(before)
	n.albatross.stop(unix.SIGKILL)
	n.albatross.start()
	n.change("web", func(d *appsv1.Deployment) { *d.Spec.Replicas = 22 })
	n.settles("web", 22)
	n.isSame(before)
	n.server.stop(unix.SIGKILL)
	n.server.start()
	n.change("web", func(d *appsv1.Deployment) { *d.Spec.Replicas = 23 })
	n.settles("web", 23)
	n.isSame(before)

	n.drain()
	n.until("the node is empty", func(ctx context.Context) bool { return n.runs(ctx, "web") == 0 })
}

// isSame checks that what ran before still runs.
func (n *node) isSame(before map[string]int) {
	n.t.Helper()
	now := n.pids()
	for name, pid := range before {
		require.Equal(n.t, pid, now[name], name)
	}
}

// drain keeps new pods away from the node, and evicts those that there are.
func (n *node) drain() {
	n.t.Helper()
	ctx := context.Background()
	n.until("the node takes no more pods", func(ctx context.Context) bool {
		node, err := n.admin.CoreV1().Nodes().Get(ctx, nodeName, metav1.GetOptions{})
		if err != nil {
			return false
		}
		node.Spec.Unschedulable = true
		_, err = n.admin.CoreV1().Nodes().Update(ctx, node, metav1.UpdateOptions{})
		return err == nil
	})
	list, err := n.admin.CoreV1().Pods("").List(ctx, metav1.ListOptions{FieldSelector: "spec.nodeName=" + nodeName})
	require.NoError(n.t, err)
	for _, p := range list.Items {
		require.NoError(n.t, n.admin.CoreV1().Pods(p.Namespace).Delete(ctx, p.Name, metav1.DeleteOptions{}))
	}
}

// pod makes a pod of a guest.
func (n *node) pod(name, image string, change func(*corev1.Pod)) {
	n.t.Helper()
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: tolerating(corev1.PodSpec{Containers: []corev1.Container{limited(corev1.Container{Name: "c", Image: image})}})}
	change(p)
	_, err := n.admin.CoreV1().Pods("default").Create(context.Background(), p, metav1.CreateOptions{})
	require.NoError(n.t, err)
}

// is waits until a pod satisfies a condition.
func (n *node) is(name, what string, holds func(*corev1.Pod, corev1.ContainerStatus) bool) {
	n.t.Helper()
	var last corev1.PodStatus
	defer func() {
		if n.t.Failed() {
			n.t.Logf("%s was last seen as %+v", name, last)
		}
	}()
	n.until(name+" is "+what, func(ctx context.Context) bool {
		p, err := n.admin.CoreV1().Pods("default").Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return false
		}
		last = p.Status
		var c corev1.ContainerStatus
		if len(p.Status.ContainerStatuses) == 1 {
			c = p.Status.ContainerStatuses[0]
		}
		return holds(p, c)
	})
}

// logs returns the logs of a pod, through the API server.
func (n *node) logs(name string, o corev1.PodLogOptions) string {
	n.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	text, err := n.admin.CoreV1().Pods("default").GetLogs(name, &o).DoRaw(ctx)
	require.NoError(n.t, err)
	return string(text)
}

// TestPods: how single pods run, end, crash and are refused, and what is told of them.
func TestPods(t *testing.T) {
	n := startNode(t, startControlPlane(t))
	n.awaitAccount("default")
	hello, exit := n.push("hello", "1"), n.push("exit", "1")

	begun := time.Now()
	n.pod("hello", hello, func(p *corev1.Pod) { p.Spec.Containers[0].Args = []string{"--hello=world"} })
	n.is("hello", "ready", func(_ *corev1.Pod, c corev1.ContainerStatus) bool { return c.Ready })
	t.Logf("a pod is ready after %v", time.Since(begun))
	n.until("it prints", func(context.Context) bool {
		return strings.Contains(n.logs("hello", corev1.PodLogOptions{}), "--hello=world")
	})
	one := int64(1)
	require.Len(t, strings.Split(strings.TrimSpace(n.logs("hello", corev1.PodLogOptions{TailLines: &one, Timestamps: true})), "\n"), 1)
	summary, err := n.admin.CoreV1().RESTClient().Get().AbsPath("/api/v1/nodes/" + nodeName + "/proxy/stats/summary").DoRaw(t.Context())
	require.NoError(t, err)
	require.Contains(t, string(summary), `"name":"hello"`)
	metrics, err := n.admin.CoreV1().RESTClient().Get().AbsPath("/api/v1/nodes/" + nodeName + "/proxy/metrics/resource").DoRaw(t.Context())
	require.NoError(t, err)
	require.Contains(t, string(metrics), `pod_memory_working_set_bytes{namespace="default",pod="hello"}`)

	n.pod("job", exit, func(p *corev1.Pod) {
		p.Spec.RestartPolicy, p.Spec.Containers[0].Args = corev1.RestartPolicyNever, []string{"3", "10"}
	})
	n.is("job", "failed", func(p *corev1.Pod, c corev1.ContainerStatus) bool {
		return p.Status.Phase == corev1.PodFailed && c.State.Terminated != nil && c.State.Terminated.ExitCode == 3
	})
	n.pod("loop", exit, func(p *corev1.Pod) { p.Spec.Containers[0].Args = []string{"1", "10"} })
	n.is("loop", "in a crash loop that shows why", func(_ *corev1.Pod, c corev1.ContainerStatus) bool {
		return c.RestartCount >= 1 && c.State.Waiting != nil && c.State.Waiting.Reason == "CrashLoopBackOff" &&
			c.LastTerminationState.Terminated != nil && c.LastTerminationState.Terminated.ExitCode == 1
	})
	n.pod("init", hello, func(p *corev1.Pod) { p.Spec.InitContainers = []corev1.Container{{Name: "i", Image: hello}} })
	n.is("init", "refused", func(p *corev1.Pod, _ corev1.ContainerStatus) bool {
		return p.Status.Phase == corev1.PodFailed && p.Status.Reason == "Unsupported" && strings.Contains(p.Status.Message, "init containers are not possible")
	})
	n.pod("missing", n.images+"/missing:1", func(*corev1.Pod) {})
	n.is("missing", "without an image", func(_ *corev1.Pod, c corev1.ContainerStatus) bool {
		return c.State.Waiting != nil && c.State.Waiting.Reason == "ErrImagePull"
	})
	n.until("events tell of it", func(ctx context.Context) bool {
		list, err := n.admin.CoreV1().Events("default").List(ctx, metav1.ListOptions{FieldSelector: "involvedObject.name=missing"})
		return err == nil && len(list.Items) > 0
	})
	n.quotas(hello)
	n.claims()
	n.comeBack()
}

// claims checks that a claim gets a block device, which lasts as long as the claim.
func (n *node) claims() {
	n.t.Helper()
	ctx := context.Background()
	class, mode := "albatross", corev1.PersistentVolumeBlock
	_, err := n.admin.CoreV1().PersistentVolumeClaims("default").Create(ctx, &corev1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{Name: "data"},
		Spec: corev1.PersistentVolumeClaimSpec{
			StorageClassName: &class, VolumeMode: &mode, AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
			Resources: corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Mi")}},
		},
	}, metav1.CreateOptions{})
	require.NoError(n.t, err)
	image := n.push("disk", "1")
	for _, job := range []struct {
		name string
		args []string
	}{{"writes", []string{"write", "kept"}}, {"reads", nil}} {
		n.pod(job.name, image, func(p *corev1.Pod) {
			p.Spec.RestartPolicy = corev1.RestartPolicyNever
			p.Spec.Volumes = []corev1.Volume{{Name: "data", VolumeSource: corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: "data"}}}}
			c := &p.Spec.Containers[0]
			c.Args, c.VolumeDevices = job.args, []corev1.VolumeDevice{{Name: "data", DevicePath: "/dev/storage"}}
		})
		n.is(job.name, "complete", func(p *corev1.Pod, _ corev1.ContainerStatus) bool { return p.Status.Phase == corev1.PodSucceeded })
	}
	require.Contains(n.t, n.logs("reads", corev1.PodLogOptions{}), "kept")
	blocks := func() int {
		list, err := n.daemon.Blocks(ctx, messages.Root)
		require.NoError(n.t, err)
		return len(list)
	}
	require.Equal(n.t, 1, blocks())
	for _, name := range []string{"writes", "reads"} {
		require.NoError(n.t, n.admin.CoreV1().Pods("default").Delete(ctx, name, metav1.DeleteOptions{}))
	}
	require.NoError(n.t, n.admin.CoreV1().PersistentVolumeClaims("default").Delete(ctx, "data", metav1.DeleteOptions{}))
	n.until("volume and block device are gone", func(ctx context.Context) bool {
		list, err := n.admin.CoreV1().PersistentVolumes().List(ctx, metav1.ListOptions{})
		return err == nil && len(list.Items) == 0 && blocks() == 0
	})
}

// quotas checks that a quota of the namespace and a policy of the daemon both hold.
func (n *node) quotas(image string) {
	n.t.Helper()
	ctx := context.Background()
	_, err := n.admin.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "small"}}, metav1.CreateOptions{})
	require.NoError(n.t, err)
	n.awaitAccount("small")
	n.command("k8s:small:", messages.PolicyDeploy{Policy: messages.Policy{Unikernels: 1, CPUIDs: []int{0, 1}, Memory: 64, Bridges: []string{"pods"}}})
	_, err = n.admin.CoreV1().ResourceQuotas("small").Create(ctx, &corev1.ResourceQuota{
		ObjectMeta: metav1.ObjectMeta{Name: "two"}, Spec: corev1.ResourceQuotaSpec{Hard: corev1.ResourceList{corev1.ResourcePods: resource.MustParse("2")}},
	}, metav1.CreateOptions{})
	require.NoError(n.t, err)
	pod := func(name string) error {
		_, err := n.admin.CoreV1().Pods("small").Create(ctx, &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name},
			Spec: tolerating(corev1.PodSpec{Containers: []corev1.Container{limited(corev1.Container{Name: "c", Image: image})}})}, metav1.CreateOptions{})
		return err
	}
	n.until("the quota is counted", func(ctx context.Context) bool {
		q, err := n.admin.CoreV1().ResourceQuotas("small").Get(ctx, "two", metav1.GetOptions{})
		return err == nil && len(q.Status.Used) > 0
	})
	require.NoError(n.t, pod("one"))
	n.until("the first runs", func(ctx context.Context) bool {
		p, err := n.admin.CoreV1().Pods("small").Get(ctx, "one", metav1.GetOptions{})
		return err == nil && p.Status.Phase == corev1.PodRunning
	})
	require.NoError(n.t, pod("two"))
	for more := 0; ; more++ { // the API server hears of a quota when it is made, and some time later
		require.Less(n.t, more, 100, "the quota holds")
		if err := pod(fmt.Sprintf("more-%d", more)); err != nil {
			require.ErrorContains(n.t, err, "exceeded quota")
			break
		}
	}
	n.until("the policy refuses the second", func(ctx context.Context) bool {
		p, err := n.admin.CoreV1().Pods("small").Get(ctx, "two", metav1.GetOptions{})
		return err == nil && len(p.Status.ContainerStatuses) == 1 && p.Status.ContainerStatuses[0].State.Waiting != nil &&
			p.Status.ContainerStatuses[0].State.Waiting.Reason == "CreateContainerError"
	})
}

// comeBack checks that a node comes back that somebody removes, and its pods with it.
func (n *node) comeBack() {
	n.t.Helper()
	before, err := n.admin.CoreV1().Nodes().Get(context.Background(), nodeName, metav1.GetOptions{})
	require.NoError(n.t, err)
	require.NoError(n.t, n.admin.CoreV1().Nodes().Delete(context.Background(), nodeName, metav1.DeleteOptions{}))
	n.until("the node is back", func(ctx context.Context) bool {
		node, err := n.admin.CoreV1().Nodes().Get(ctx, nodeName, metav1.GetOptions{})
		return err == nil && node.UID != before.UID && n.nodeIs(ctx, corev1.ConditionTrue)
	})
}
