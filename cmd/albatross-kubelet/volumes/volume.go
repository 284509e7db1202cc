// Package volumes makes block devices of the daemon for claims, and removes them when their volumes are
// released. Its state is in the API server and in the daemon; it holds none of its own.
//
//	volume.go       the volume that a claim asks for
//	provisioner.go  what is done about claims and volumes
//
// The control plane chooses the node of a claim when a pod that uses it is scheduled, and notes that in the
// claim. The provisioner of that node makes the block device first, and the volume when that is there: a
// claim that is bound has its block device.
package volumes

import (
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"albatross/cmd/albatross-kubelet/pods"
	"albatross/messages"
)

// What others write into claims and volumes, and read there.
const (
	// selectedNode is the node of the pod for which a claim is to be bound.
	selectedNode = "volume.kubernetes.io/selected-node"
	// storageProvisioner is who is to make the volume of a claim.
	storageProvisioner = "volume.kubernetes.io/storage-provisioner"
	// provisionedBy is who has made a volume, and removes it.
	provisionedBy = "pv.kubernetes.io/provisioned-by"
)

// finalizer keeps a volume until its block device is removed.
const finalizer = "albatross/block-device"

// A place is the node that volumes are on.
type place struct {
	node    string
	path    messages.Path
	cluster pods.Cluster
}

// A device is the block device of a volume.
type device struct {
	name  messages.Name
	owner string
}

// wants reports whether a claim waits for a volume of ours.
func (p place) wants(c *corev1.PersistentVolumeClaim) bool {
	return c.DeletionTimestamp == nil && c.Spec.VolumeName == "" &&
		c.Annotations[storageProvisioner] == pods.Driver && c.Annotations[selectedNode] == p.node
}

// ours reports whether we have made a volume.
func (p place) ours(v *corev1.PersistentVolume) bool {
	return v.Annotations[provisionedBy] == pods.Driver && v.Spec.CSI != nil && v.Spec.CSI.Driver == pods.Driver && v.Spec.ClaimRef != nil &&
		v.Spec.NodeAffinity != nil && v.Spec.NodeAffinity.Required != nil && nodeOf(v.Spec.NodeAffinity.Required) == p.node
}

// device returns the block device for a claim.
func (p place) device(namespace string, claim types.UID) (d device, err error) {
	path, err := messages.ParseLabel(namespace)
	if err != nil {
		return d, fmt.Errorf("the namespace %q cannot be a path: %w", namespace, err)
	}
	label, err := messages.ParseLabel(volumeName(claim))
	if err != nil {
		return d, err
	}
	d.name = messages.Name{Path: p.path.Append(path), Label: label}
	d.owner = fmt.Sprintf("kubernetes-volume/%s/%s", p.cluster, claim)
	return d, nil
}

func volumeName(claim types.UID) string { return "pvc-" + string(claim) }

// check returns, for the user, why a claim cannot be a block device of the daemon.
func check(c *corev1.PersistentVolumeClaim) error {
	if c.Spec.VolumeMode == nil || *c.Spec.VolumeMode != corev1.PersistentVolumeBlock {
		return errors.New("volumeMode must be Block: the file system of a unikernel is its own")
	}
	if c.Spec.Selector != nil || c.Spec.DataSource != nil || c.Spec.DataSourceRef != nil {
		return errors.New("a selector or a dataSource is not possible: a block device is empty at first")
	}
	for _, mode := range c.Spec.AccessModes {
		if mode != corev1.ReadWriteOnce && mode != corev1.ReadWriteOncePod {
			return fmt.Errorf("the access mode %s is not possible: one unikernel has a block device", mode)
		}
	}
	return nil
}

// megabytes returns the size of a claim, in whole MB.
func megabytes(c *corev1.PersistentVolumeClaim) (int, error) {
	asked := c.Spec.Resources.Requests[corev1.ResourceStorage]
	size := (asked.Value() + 1<<20 - 1) >> 20
	if size < 1 || size > messages.MaxInt {
		return 0, fmt.Errorf("a size of %s is not possible", asked.String())
	}
	return int(size), nil
}

// volume returns the volume of a claim, whose block device has a size in MB.
func (p place) volume(c *corev1.PersistentVolumeClaim, class *storagev1.StorageClass, size int) *corev1.PersistentVolume {
	mode := corev1.PersistentVolumeBlock
	reclaim := corev1.PersistentVolumeReclaimDelete
	if class.ReclaimPolicy != nil {
		reclaim = *class.ReclaimPolicy
	}
	return &corev1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{
			Name: volumeName(c.UID), Finalizers: []string{finalizer}, Annotations: map[string]string{provisionedBy: pods.Driver},
		},
		Spec: corev1.PersistentVolumeSpec{
			Capacity:    corev1.ResourceList{corev1.ResourceStorage: *resource.NewQuantity(int64(size)<<20, resource.BinarySI)},
			AccessModes: c.Spec.AccessModes, VolumeMode: &mode, StorageClassName: class.Name, PersistentVolumeReclaimPolicy: reclaim,
			ClaimRef: &corev1.ObjectReference{
				Kind: "PersistentVolumeClaim", APIVersion: "v1", Namespace: c.Namespace, Name: c.Name, UID: c.UID, ResourceVersion: c.ResourceVersion,
			},
			PersistentVolumeSource: corev1.PersistentVolumeSource{CSI: &corev1.CSIPersistentVolumeSource{
				Driver: pods.Driver, VolumeHandle: c.Namespace + ":" + volumeName(c.UID),
			}},
			NodeAffinity: &corev1.VolumeNodeAffinity{Required: onNode(p.node)},
		},
	}
}

func onNode(node string) *corev1.NodeSelector {
	return &corev1.NodeSelector{NodeSelectorTerms: []corev1.NodeSelectorTerm{{
		MatchExpressions: []corev1.NodeSelectorRequirement{{Key: corev1.LabelHostname, Operator: corev1.NodeSelectorOpIn, Values: []string{node}}},
	}}}
}

// nodeOf returns the node of a selector of onNode; empty: it is another one.
func nodeOf(s *corev1.NodeSelector) string {
	if len(s.NodeSelectorTerms) != 1 || len(s.NodeSelectorTerms[0].MatchExpressions) != 1 {
		return ""
	}
	r := s.NodeSelectorTerms[0].MatchExpressions[0]
	if r.Key != corev1.LabelHostname || len(r.Values) != 1 {
		return ""
	}
	return r.Values[0]
}

// A fate is what becomes of a volume of ours.
type fate int

const (
	stays   fate = iota
	letGo        // it is deleted, and its block device stays
	removed      // it is deleted with its block device
)

// fateOf decides what becomes of a volume.
func fateOf(v *corev1.PersistentVolume) fate {
	switch over := v.Status.Phase == corev1.VolumeReleased || v.Status.Phase == corev1.VolumeFailed; {
	case over && v.Spec.PersistentVolumeReclaimPolicy == corev1.PersistentVolumeReclaimDelete:
		return removed
	case v.DeletionTimestamp != nil && v.Status.Phase != corev1.VolumeBound:
		return letGo
	}
	return stays
}
