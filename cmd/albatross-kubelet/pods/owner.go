package pods

import (
	"fmt"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"albatross/messages"
)

// A Cluster names a Kubernetes cluster in the labels of unikernels, so that a provider of another
// cluster that runs on the same host later does not take them for its own.
type Cluster string

// clusterLength is how much of an identity is kept: a label has no room for all of it.
const clusterLength = 8

// ClusterOf returns the name of the cluster whose namespace kube-system has this identity.
func ClusterOf(uid types.UID) Cluster { return Cluster(uid[:min(len(uid), clusterLength)]) }

// ownerPrefix begins the label of every unikernel that belongs to a pod.
const ownerPrefix = "kubernetes/"

// An Owner is the pod that a unikernel belongs to, as the label of the unikernel tells it. The
// daemon keeps the label as long as the unikernel is on record.
type Owner struct {
	Cluster Cluster
	UID     types.UID
	// Former is how many runs the pod has had before this unikernel was created.
	Former int
}

// String returns the label.
func (o Owner) String() string {
	return fmt.Sprintf("%s%s/%s/%d", ownerPrefix, o.Cluster, o.UID, o.Former)
}

// ParseOwner reads a label. A label that is not of the cluster belongs to nobody whom we know.
func ParseOwner(cluster Cluster, label string) (o Owner, ours bool) {
	rest, ours := strings.CutPrefix(label, ownerPrefix+string(cluster)+"/")
	uid, number, whole := strings.Cut(rest, "/")
	former, err := strconv.Atoi(number)
	if !ours || !whole || uid == "" || err != nil || former < 0 {
		return Owner{}, false
	}
	return Owner{Cluster: cluster, UID: types.UID(uid), Former: former}, true
}

// NameOf returns the name of the unikernel of a pod: its namespace, below the path of the node, is
// the path, and its name is the label.
func NameOf(node messages.Path, pod types.NamespacedName) (messages.Name, error) {
	namespace, err := messages.ParseLabel(pod.Namespace)
	if err != nil {
		return messages.Name{}, fmt.Errorf("the namespace %q cannot be a path: %w", pod.Namespace, err)
	}
	label, err := messages.ParseLabel(pod.Name)
	if err != nil {
		return messages.Name{}, fmt.Errorf("the name of the pod cannot be that of a unikernel: %w", err)
	}
	return messages.Name{Path: node.Append(namespace), Label: label}, nil
}

// PodOf returns the pod whose unikernel has a name, relative to the path of the node. It is the
// inverse of NameOf.
func PodOf(relative messages.Name) (pod types.NamespacedName, possible bool) {
	if relative.IsPath() || len(relative.Path.Labels()) != 1 {
		return pod, false
	}
	return types.NamespacedName{Namespace: string(relative.Path), Name: string(relative.Label)}, true
}

// Key returns the name of a pod.
func Key(pod *corev1.Pod) types.NamespacedName {
	return types.NamespacedName{Namespace: pod.Namespace, Name: pod.Name}
}
