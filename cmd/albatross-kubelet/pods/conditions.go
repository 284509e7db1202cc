package pods

import (
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// conditions returns the conditions of a pod whose status is otherwise complete. Those that are not
// ours stay.
func conditions(pod *corev1.Pod, s corev1.PodStatus, now time.Time) []corev1.PodCondition {
	list := slices.Clone(pod.Status.Conditions)
	set := func(kind corev1.PodConditionType, holds bool, reason, message string) {
		c := corev1.PodCondition{Type: kind, Status: truth(holds), Reason: reason, Message: message, ObservedGeneration: pod.Generation}
		list = withCondition(list, c, now)
	}
	ready, reason := containersReady(s)
	set(corev1.PodReadyToStartContainers, s.Phase == corev1.PodRunning, "", "")
	set(corev1.PodInitialized, true, "", "")
	set(corev1.ContainersReady, ready, reason, "")
	if gate := closedGate(pod, list); ready && gate != "" {
		set(corev1.PodReady, false, "ReadinessGatesNotReady", "the condition "+gate+" is not true")
		return list
	}
	set(corev1.PodReady, ready, reason, "")
	return list
}

func truth(holds bool) corev1.ConditionStatus {
	if holds {
		return corev1.ConditionTrue
	}
	return corev1.ConditionFalse
}

func containersReady(s corev1.PodStatus) (ready bool, reason string) {
	switch {
	case s.Phase == corev1.PodSucceeded:
		return false, "PodCompleted"
	case s.Phase == corev1.PodFailed:
		return false, "PodFailed"
	case len(s.ContainerStatuses) == 0 || !s.ContainerStatuses[0].Ready:
		return false, "ContainersNotReady"
	}
	return true, ""
}

// closedGate returns a condition that somebody else must set before the pod is ready; empty: all are.
func closedGate(pod *corev1.Pod, list []corev1.PodCondition) string {
	for _, gate := range pod.Spec.ReadinessGates {
		open := slices.ContainsFunc(list, func(c corev1.PodCondition) bool {
			return c.Type == gate.ConditionType && c.Status == corev1.ConditionTrue
		})
		if !open {
			return string(gate.ConditionType)
		}
	}
	return ""
}

// withCondition returns a list with a condition in the place of that of its type. The time at which it
// became so stays.
func withCondition(list []corev1.PodCondition, c corev1.PodCondition, now time.Time) []corev1.PodCondition {
	c.LastTransitionTime = metav1.NewTime(now).Rfc3339Copy()
	i := slices.IndexFunc(list, func(other corev1.PodCondition) bool { return other.Type == c.Type })
	if i < 0 {
		return append(list, c)
	}
	was := list[i]
	if was.Status == c.Status {
		c.LastTransitionTime = was.LastTransitionTime
	}
	c.LastProbeTime = was.LastProbeTime
	list[i] = c
	return list
}
