// Package kubelet serves what the API server of a cluster asks its nodes for: the logs of pods,
// statistics, and metrics. What a unikernel has not, such as processes to run in it, is refused in
// words.
//
//	server.go  the requests
//	auth.go    who may ask
//	logs.go    what unikernels print
//	stats.go   what they use
//	cert.go    a certificate, where none is given
package kubelet

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"time"

	corev1 "k8s.io/api/core/v1"

	"albatross/cmd/albatross-kubelet/pods"
	"albatross/cmd/albatross-kubelet/provider"
	"albatross/messages"
)

// A Host is the daemon, for who reads.
type Host interface {
	Find(ctx context.Context, name messages.Name) (provider.Unikernel, bool, error)
	List(ctx context.Context, path messages.Path) ([]provider.Unikernel, error)
	Lines(ctx context.Context, name messages.Name, since time.Time, follow bool, print func(messages.DataConsole) error) error
}

// Pods are the pods of the node, as far as they are known here.
type Pods interface {
	Pod(namespace, name string) (*corev1.Pod, bool)
	All() []*corev1.Pod
}

// A Server answers requests.
type Server struct {
	Host    Host
	Pods    Pods
	Node    string
	Path    messages.Path // the node's
	Cluster pods.Cluster
	Log     *slog.Logger
	Now     func() time.Time
}

// An httpError is an error with a status.
type httpError struct {
	status int
	error
}

func refused(status int, text string) error { return &httpError{status, errors.New(text)} }

// Handler returns what answers those who may ask.
func (s *Server) Handler(auth Authorizer) http.Handler {
	asked := http.NewServeMux()
	asked.Handle("GET /containerLogs/{namespace}/{pod}/{container}", s.handle(s.logs))
	asked.Handle("GET /pods", s.handle(s.pods))
	asked.Handle("GET /stats/summary", s.handle(s.summary))
	asked.Handle("GET /metrics/resource", s.handle(s.metrics))
	for path, text := range map[string]string{
		"/exec/":        "a unikernel has no processes: exec is not possible",
		"/run/":         "a unikernel has no processes: nothing can be run in it",
		"/attach/":      "a unikernel reads nothing from its console: attach is not possible, logs -f is",
		"/portForward/": "port-forward is not possible: publish a port by hostPort, or reach the address of the pod",
		"/checkpoint/":  "checkpoints of a unikernel are not possible",
	} {
		asked.Handle(path, s.handle(func(http.ResponseWriter, *http.Request) error { return refused(http.StatusNotImplemented, text) }))
	}
	all := http.NewServeMux()
	all.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("ok")) })
	all.Handle("/", auth.Protect(asked))
	return all
}

// handle answers with an error as text.
func (s *Server) handle(do func(http.ResponseWriter, *http.Request) error) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		err := do(w, r)
		if err == nil || r.Context().Err() != nil {
			return
		}
		status := http.StatusInternalServerError
		if with := new(httpError); errors.As(err, &with) {
			status = with.status
		} else {
			s.Log.Warn("Cannot answer", "path", r.URL.Path, "error", err)
		}
		http.Error(w, err.Error(), status)
	})
}

func (s *Server) pods(w http.ResponseWriter, _ *http.Request) error {
	list := corev1.PodList{}
	list.Kind, list.APIVersion = "PodList", "v1"
	for _, p := range s.Pods.All() {
		list.Items = append(list.Items, *p)
	}
	return answer(w, list)
}

// answer writes an answer in JSON. Who does not read it does not want it.
func answer(w http.ResponseWriter, value any) error {
	b, err := json.Marshal(value)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(b)
	return nil
}
