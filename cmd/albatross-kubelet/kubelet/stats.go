package kubelet

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	stats "k8s.io/kubelet/pkg/apis/stats/v1alpha1"

	"albatross/cmd/albatross-kubelet/pods"
	"albatross/cmd/albatross-kubelet/provider"
	"albatross/messages"
)

// A use is what the unikernel of a pod uses.
type use struct {
	pod       types.NamespacedName
	uid       types.UID
	container string
	unikernel provider.Unikernel
}

// uses returns what the unikernels of pods use, and what all unikernels use together.
func (s *Server) uses(ctx context.Context) (list []use, total messages.Use, err error) {
	unikernels, err := s.Host.List(ctx, messages.Root)
	if err != nil {
		return nil, total, err
	}
	node := messages.Name{Path: s.Path}
	for _, u := range unikernels {
		if !u.Used.OK {
			continue
		}
		total.CPU += u.Used.Value.CPU
		total.Memory += u.Used.Value.Memory
		owner, ours := pods.ParseOwner(s.Cluster, u.Owner)
		if !ours || !node.Covers(u.Name) {
			continue
		}
		key, possible := pods.PodOf(node.Relative(u.Name))
		if pod, known := s.Pods.Pod(key.Namespace, key.Name); possible && known && pod.UID == owner.UID {
			list = append(list, use{pod: key, uid: pod.UID, container: pod.Spec.Containers[0].Name, unikernel: u})
		}
	}
	return list, total, nil
}

func (s *Server) summary(w http.ResponseWriter, r *http.Request) error {
	uses, total, err := s.uses(r.Context())
	if err != nil {
		return err
	}
	now := metav1.NewTime(s.Now())
	summary := stats.Summary{Node: stats.NodeStats{NodeName: s.Node, CPU: cpu(total, now), Memory: memory(total, now)}}
	for _, u := range uses {
		used, started := u.unikernel.Used.Value, metav1.NewTime(u.unikernel.Started)
		summary.Pods = append(summary.Pods, stats.PodStats{
			PodRef:    stats.PodReference{Name: u.pod.Name, Namespace: u.pod.Namespace, UID: string(u.uid)},
			StartTime: started, CPU: cpu(used, now), Memory: memory(used, now),
			Containers: []stats.ContainerStats{{Name: u.container, StartTime: started, CPU: cpu(used, now), Memory: memory(used, now)}},
		})
	}
	return answer(w, summary)
}

func cpu(u messages.Use, now metav1.Time) *stats.CPUStats {
	nanoseconds := uint64(max(u.CPU.Nanoseconds(), 0))
	return &stats.CPUStats{Time: now, UsageCoreNanoSeconds: &nanoseconds}
}

func memory(u messages.Use, now metav1.Time) *stats.MemoryStats {
	bytes := uint64(max(u.Memory, 0))
	return &stats.MemoryStats{Time: now, UsageBytes: &bytes, WorkingSetBytes: &bytes, RSSBytes: &bytes}
}

// metrics answers in the text format of Prometheus. Names of pods and namespaces have no character that
// must be escaped there.
func (s *Server) metrics(w http.ResponseWriter, r *http.Request) error {
	uses, total, err := s.uses(r.Context())
	if err != nil {
		return err
	}
	var out strings.Builder
	now := s.Now().UnixMilli()
	family := func(name, kind string) { fmt.Fprintf(&out, "# TYPE %s %s\n", name, kind) }
	each := func(name, kind string, container bool, value func(provider.Unikernel) float64) {
		family(name, kind)
		for _, u := range uses {
			inner := ""
			if container {
				inner = fmt.Sprintf("container=%q,", u.container)
			}
			fmt.Fprintf(&out, "%s{%snamespace=%q,pod=%q} %g %d\n", name, inner, u.pod.Namespace, u.pod.Name, value(u.unikernel), now)
		}
	}
	seconds := func(u provider.Unikernel) float64 { return u.Used.Value.CPU.Seconds() }
	bytes := func(u provider.Unikernel) float64 { return float64(u.Used.Value.Memory) }
	each("container_cpu_usage_seconds_total", "counter", true, seconds)
	each("container_memory_working_set_bytes", "gauge", true, bytes)
	each("container_start_time_seconds", "gauge", true, func(u provider.Unikernel) float64 {
		return float64(u.Started.UnixNano()) / float64(time.Second)
	})
	family("node_cpu_usage_seconds_total", "counter")
	fmt.Fprintf(&out, "node_cpu_usage_seconds_total %g %d\n", total.CPU.Seconds(), now)
	family("node_memory_working_set_bytes", "gauge")
	fmt.Fprintf(&out, "node_memory_working_set_bytes %d %d\n", total.Memory, now)
	each("pod_cpu_usage_seconds_total", "counter", false, seconds)
	each("pod_memory_working_set_bytes", "gauge", false, bytes)
	family("resource_scrape_error", "gauge")
	out.WriteString("resource_scrape_error 0\n")
	w.Header().Set("Content-Type", "text/plain; version=0.0.4")
	_, _ = w.Write([]byte(out.String()))
	return nil
}
