package pods

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// containerType begins the identities of containers in statuses.
const containerType = "albatross://"

// A Run is one creation of the unikernel of a pod. It is in the status of the pod, as the identity of
// the container, before the daemon is asked to create the unikernel: whoever finds no unikernel later
// tells by it whether there was one, and how it ended.
type Run struct {
	Former int       // see Owner
	Asked  time.Time // when it was about to be created, to the millisecond
}

// String returns the identity of the container.
func (r Run) String() string {
	return fmt.Sprintf("%s%d-%d", containerType, r.Former, r.Asked.UnixMilli())
}

// RunOf returns the run that a status is about, if there was any.
func RunOf(pod *corev1.Pod) (r Run, begun bool) {
	if len(pod.Status.ContainerStatuses) == 0 {
		return Run{}, false
	}
	id, ours := strings.CutPrefix(pod.Status.ContainerStatuses[0].ContainerID, containerType)
	former, asked, found := strings.Cut(id, "-")
	count, err := strconv.Atoi(former)
	millis, err2 := strconv.ParseInt(asked, 10, 64)
	if !ours || !found || err != nil || err2 != nil {
		return Run{}, false
	}
	return Run{Former: count, Asked: time.UnixMilli(millis).UTC()}, true
}

// container returns the status of the container; zero: there is none yet.
func container(pod *corev1.Pod) (c corev1.ContainerStatus) {
	if len(pod.Status.ContainerStatuses) > 0 {
		c = *pod.Status.ContainerStatuses[0].DeepCopy()
	}
	return c
}
