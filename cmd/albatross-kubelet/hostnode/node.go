// Package hostnode describes a host of the daemon as a node of Kubernetes, and keeps the node up to
// date.
//
//	node.go    what the node is
//	keeper.go  how it stays registered
//	log.go     the log of virtual-kubelet
package hostnode

import (
	"errors"
	"fmt"
	"net/netip"
	"runtime"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"albatross/messages"
)

// OS is the operating system of the node, as pods select it. It is not linux: what belongs on every node
// of Linux, such as a proxy, asks for that, and does not come here even if it tolerates every taint.
const OS = "solo5"

// DefaultTaint keeps pods away that do not tolerate it, as other nodes of virtual-kubelet do.
const DefaultTaint = "virtual-kubelet.io/provider=albatross:NoSchedule"

// kubeletVersion is the version of Kubernetes that the node behaves like, as far as it does.
const kubeletVersion = "v1.37.0"

// A Description is what a node is made of.
type Description struct {
	Name    string
	IP      string
	HostIP  string // of the host, where ports are published; often the same
	Port    int32  // of the server for logs and statistics
	Version string
	Taints  []corev1.Taint
	Labels  map[string]string
	// Subnets are those of pods, where the network may route them to the host.
	Subnets []netip.Prefix
	MaxPods int
}

// A Load is what the host has, and what unikernels that are no pods use of it.
type Load struct {
	Policy  messages.Policy // of the path of the node
	Foreign int             // how many of those there are
	Memory  int             // MB that they have
}

// ParseTaint reads KEY[=VALUE]:EFFECT.
func ParseTaint(text string) (t corev1.Taint, err error) {
	what, effect, found := strings.Cut(text, ":")
	t.Key, t.Value, _ = strings.Cut(what, "=")
	t.Effect = corev1.TaintEffect(effect)
	switch {
	case !found || t.Key == "":
		return t, fmt.Errorf("%q is not KEY=VALUE:EFFECT", text)
	case t.Effect != corev1.TaintEffectNoSchedule && t.Effect != corev1.TaintEffectPreferNoSchedule && t.Effect != corev1.TaintEffectNoExecute:
		return t, errors.New("the effect is NoSchedule, PreferNoSchedule or NoExecute")
	}
	return t, nil
}

// New returns the node.
func (d Description) New(load Load, now time.Time) *corev1.Node {
	n := &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: d.Name, Labels: map[string]string{
			corev1.LabelHostname: d.Name, corev1.LabelOSStable: OS, corev1.LabelArchStable: runtime.GOARCH,
			"type": "virtual-kubelet", corev1.LabelNodeExcludeBalancers: "true",
		}},
		Spec: corev1.NodeSpec{Taints: d.Taints},
	}
	for key, value := range d.Labels {
		n.Labels[key] = value
	}
	for _, subnet := range d.Subnets {
		n.Spec.PodCIDRs = append(n.Spec.PodCIDRs, subnet.String())
	}
	if len(d.Subnets) > 0 {
		n.Spec.PodCIDR = n.Spec.PodCIDRs[0]
	}
	n.Status = d.status(load, now)
	return n
}

func (d Description) status(load Load, now time.Time) corev1.NodeStatus {
	maxPods := min(d.MaxPods, load.Policy.Unikernels)
	s := corev1.NodeStatus{
		Capacity:        resources(len(load.Policy.CPUIDs), load.Policy.Memory, maxPods),
		Allocatable:     resources(len(load.Policy.CPUIDs), load.Policy.Memory-load.Memory, min(maxPods, load.Policy.Unikernels-load.Foreign)),
		Conditions:      conditions(now),
		DaemonEndpoints: corev1.NodeDaemonEndpoints{KubeletEndpoint: corev1.DaemonEndpoint{Port: d.Port}},
		NodeInfo: corev1.NodeSystemInfo{
			Architecture: runtime.GOARCH, OperatingSystem: OS, OSImage: "albatross", KubeletVersion: kubeletVersion,
			ContainerRuntimeVersion: "albatross://" + d.Version,
		},
		Addresses: []corev1.NodeAddress{{Type: corev1.NodeHostName, Address: d.Name}},
	}
	if d.IP != "" {
		s.Addresses = append(s.Addresses, corev1.NodeAddress{Type: corev1.NodeInternalIP, Address: d.IP})
	}
	if d.HostIP != "" && d.HostIP != d.IP {
		s.Addresses = append(s.Addresses, corev1.NodeAddress{Type: corev1.NodeExternalIP, Address: d.HostIP})
	}
	return s
}

func resources(cpus, megabytes, pods int) corev1.ResourceList {
	return corev1.ResourceList{
		corev1.ResourceCPU:    *resource.NewQuantity(int64(cpus), resource.DecimalSI),
		corev1.ResourceMemory: *resource.NewQuantity(int64(min(max(megabytes, 0), maxMegabytes))<<20, resource.BinarySI),
		corev1.ResourcePods:   *resource.NewQuantity(int64(max(pods, 0)), resource.DecimalSI),
	}
}

// maxMegabytes is more memory than any host has: a policy may be without limit.
const maxMegabytes = 1 << 30

// conditions says that all is well: if it is not, the node is not kept up to date, and the control plane
// says so.
func conditions(now time.Time) (list []corev1.NodeCondition) {
	add := func(kind corev1.NodeConditionType, status corev1.ConditionStatus, reason, message string) {
		list = append(list, corev1.NodeCondition{
			Type: kind, Status: status, Reason: reason, Message: message,
			LastHeartbeatTime: metav1.NewTime(now), LastTransitionTime: metav1.NewTime(now),
		})
	}
	add(corev1.NodeReady, corev1.ConditionTrue, "DaemonAnswers", "albatrossd answers")
	add(corev1.NodeMemoryPressure, corev1.ConditionFalse, "PolicyHolds", "the policy bounds the memory of all unikernels")
	add(corev1.NodeDiskPressure, corev1.ConditionFalse, "DaemonAnswers", "albatrossd stores what it must")
	add(corev1.NodePIDPressure, corev1.ConditionFalse, "PolicyHolds", "a unikernel is one process")
	add(corev1.NodeNetworkUnavailable, corev1.ConditionFalse, "DaemonAnswers", "albatrossd makes the networks")
	return list
}
