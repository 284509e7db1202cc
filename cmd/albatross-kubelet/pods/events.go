package pods

import (
	"cmp"

	corev1 "k8s.io/api/core/v1"

	"albatross/messages"
)

// Tell returns what an event of the daemon's about the unikernel of a pod is as an event of the pod. What
// the provider does itself, it tells itself.
func Tell(e messages.Event) (kind, reason, message string, tells bool) {
	cause := string(e.Cause)
	switch e.Kind {
	case messages.EventExited:
		exit := e.Exit.Value
		kind = corev1.EventTypeWarning
		if succeeded(exit) {
			kind = corev1.EventTypeNormal
		}
		return kind, "Exited", "the unikernel has ended: " + exit.String(), true
	case messages.EventRestarting:
		return corev1.EventTypeWarning, "Restarting", "the unikernel is started again: " + cause, true
	case messages.EventStopped:
		return corev1.EventTypeWarning, "Stopped", "the unikernel stays stopped: " + cmp.Or(cause, "somebody has asked for that"), true
	}
	return "", "", "", false
}
