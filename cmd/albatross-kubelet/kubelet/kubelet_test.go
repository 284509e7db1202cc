package kubelet_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	authentication "k8s.io/api/authentication/v1"
	authorization "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"
	stats "k8s.io/kubelet/pkg/apis/stats/v1alpha1"

	"albatross/cmd/albatross-kubelet/kubelet"
	"albatross/cmd/albatross-kubelet/pods"
	"albatross/cmd/albatross-kubelet/provider"
	"albatross/messages"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// A fakeHost is a daemon with one unikernel, and its console.
type fakeHost struct {
	mu    sync.Mutex
	list  []provider.Unikernel
	lines []messages.DataConsole
	come  chan messages.DataConsole // those that come to who follows
}

func (h *fakeHost) Find(_ context.Context, name messages.Name) (provider.Unikernel, bool, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, u := range h.list {
		if u.Name == name {
			return u, true, nil
		}
	}
	return provider.Unikernel{}, false, nil
}

func (h *fakeHost) List(context.Context, messages.Path) ([]provider.Unikernel, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.list, nil
}

func (h *fakeHost) Lines(ctx context.Context, _ messages.Name, since time.Time, follow bool, print func(messages.DataConsole) error) error {
	h.mu.Lock()
	lines := h.lines
	h.mu.Unlock()
	for _, l := range lines {
		if l.Time.Before(since) {
			continue
		}
		if err := print(l); err != nil {
			return err
		}
	}
	for follow {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case l := <-h.come:
			h.mu.Lock()
			h.lines = append(h.lines, l)
			h.mu.Unlock()
			if err := print(l); err != nil {
				return err
			}
		}
	}
	return nil
}

// prints adds lines, one a second from a time on.
func (h *fakeHost) prints(from time.Time, texts ...string) {
	for i, text := range texts {
		h.lines = append(h.lines, messages.DataConsole{Time: from.Add(time.Duration(i) * time.Second), Line: text})
	}
}

// A fakePods is one pod.
type fakePods struct{ pod *corev1.Pod }

func (f fakePods) Pod(namespace, name string) (*corev1.Pod, bool) {
	return f.pod, f.pod.Namespace == namespace && f.pod.Name == name
}
func (f fakePods) All() []*corev1.Pod { return []*corev1.Pod{f.pod} }

func newPod() *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web", UID: "1"},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "c"}}},
	}
}

func running() provider.Unikernel {
	u := provider.Unikernel{Owner: pods.Owner{Cluster: "01234567", UID: "1"}.String()}
	u.Name, u.State, u.Started = messages.Name{Path: "k8s:shop", Label: "web"}, messages.StateRunning, noon
	u.Used = messages.Some(messages.Use{CPU: 1500 * time.Millisecond, Memory: 32 << 20})
	return u
}

// serve serves a pod to everybody, and returns where.
func serve(t *testing.T, h *fakeHost, pod *corev1.Pod) string {
	t.Helper()
	api := fake.NewClientset()
	allow(api, true)
	server := httptest.NewServer(handler(h, pod, api, nil))
	t.Cleanup(server.Close)
	return server.URL
}

func handler(h *fakeHost, pod *corev1.Pod, api *fake.Clientset, ca *x509.CertPool) http.Handler {
	s := &kubelet.Server{
		Host: h, Pods: fakePods{pod}, Node: "host", Path: "k8s", Cluster: "01234567", Log: slog.New(slog.DiscardHandler),
		Now: func() time.Time { return noon.Add(10 * time.Second) },
	}
	return s.Handler(kubelet.Authorizer{Client: api, Node: "host", CA: ca})
}

// allow makes an API server vouch for the token "good", and allow everything, or nothing.
func allow(api *fake.Clientset, everything bool) {
	api.PrependReactor("create", "tokenreviews", func(a clienttesting.Action) (bool, runtime.Object, error) {
		review := a.(clienttesting.CreateAction).GetObject().(*authentication.TokenReview)
		review.Status = authentication.TokenReviewStatus{Authenticated: review.Spec.Token == "good", User: authentication.UserInfo{Username: "somebody"}}
		return true, review, nil
	})
	api.PrependReactor("create", "subjectaccessreviews", func(a clienttesting.Action) (bool, runtime.Object, error) {
		review := a.(clienttesting.CreateAction).GetObject().(*authorization.SubjectAccessReview)
		review.Status.Allowed = everything
		return true, review, nil
	})
}

// get returns an answer.
func get(t *testing.T, url, token string) (status int, body string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	require.NoError(t, err)
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	answer, err := http.DefaultClient.Do(r)
	require.NoError(t, err)
	defer answer.Body.Close()
	b, err := io.ReadAll(answer.Body)
	require.NoError(t, err)
	return answer.StatusCode, string(b)
}

func TestLogs(t *testing.T) {
	h := &fakeHost{list: []provider.Unikernel{running()}}
	h.prints(noon.Add(-5*time.Second), "old 1", "old 2")
	h.prints(noon, "one", "two", "three")
	pod := newPod()
	pod.Status.ContainerStatuses = []corev1.ContainerStatus{{LastTerminationState: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{
		StartedAt: metav1.NewTime(noon.Add(-4 * time.Second)), FinishedAt: metav1.NewTime(noon.Add(-time.Second)),
	}}}}
	url := serve(t, h, pod)
	for query, want := range map[string]string{
		"":                               "one\ntwo\nthree\n",
		"tailLines=1":                    "three\n",
		"tailLines=0":                    "",
		"sinceTime=2026-03-01T12:00:01Z": "two\nthree\n",
		"sinceSeconds=8":                 "three\n",
		"sinceSeconds=3600":              "one\ntwo\nthree\n",
		"limitBytes=6":                   "one\ntw",
		"timestamps=true&tailLines=1":    "2026-03-01T12:00:02Z three\n",
		"previous=true":                  "old 2\n",
		"tailLines=many":                 "tailLines=\"many\" is no number from 0 on\n",
		"sinceTime=noon":                 "sinceTime=\"noon\" is no time\n",
		"follow=perhaps":                 "follow=\"perhaps\" is neither true nor false\n",
	} {
		_, body := get(t, url+"/containerLogs/shop/web/c?"+query, "good")
		require.Equal(t, want, body, query)
	}
	status, body := get(t, url+"/containerLogs/shop/mail/c", "good")
	require.Equal(t, http.StatusNotFound, status)
	require.Equal(t, "there is no container c in a pod shop/mail on this node\n", body)
}

func TestLogsOfWhatDoesNotRun(t *testing.T) {
	h := &fakeHost{}
	h.prints(noon, "one", "two")
	h.prints(noon.Add(time.Hour), "another pod")
	pod := newPod()
	url := serve(t, h, pod)
	_, body := get(t, url+"/containerLogs/shop/web/c", "good")
	require.Equal(t, "the container c of the pod web has not been started\n", body)
	_, body = get(t, url+"/containerLogs/shop/web/c?previous=true", "good")
	require.Equal(t, "the container c of the pod web has not ended before\n", body)
	end := &corev1.ContainerStateTerminated{StartedAt: metav1.NewTime(noon), FinishedAt: metav1.NewTime(noon.Add(time.Second))}
	for _, c := range []corev1.ContainerStatus{
		{State: corev1.ContainerState{Terminated: end}},
		{LastTerminationState: corev1.ContainerState{Terminated: end}},
	} {
		pod.Status.ContainerStatuses = []corev1.ContainerStatus{c}
		_, body = get(t, url+"/containerLogs/shop/web/c?follow=true", "good")
		require.Equal(t, "one\ntwo\n", body)
	}
}

// TestLogsThatAreFollowed: no line is lost or comes twice, and it ends when the run does.
func TestLogsThatAreFollowed(t *testing.T) {
	h := &fakeHost{list: []provider.Unikernel{running()}, come: make(chan messages.DataConsole)}
	h.prints(noon, "one", "two")
	h.prints(noon.Add(time.Second), "two again")
	url := serve(t, h, newPod())
	done := make(chan string)
	go func() {
		_, body := get(t, url+"/containerLogs/shop/web/c?follow=true&tailLines=2", "good")
		done <- body
	}()
	h.come <- messages.DataConsole{Time: noon.Add(time.Second), Line: "at the same time"}
	h.come <- messages.DataConsole{Time: noon.Add(2 * time.Second), Line: "three"}
	h.mu.Lock()
	h.list[0].State = messages.StateRestarting
	h.prints(noon.Add(3*time.Second), "its last words")
	h.mu.Unlock()
	select {
	case body := <-done:
		require.Equal(t, "two\ntwo again\nat the same time\nthree\nits last words\n", body)
	case <-time.After(time.Minute):
		require.FailNow(t, "it does not end")
	}
}

func TestStatistics(t *testing.T) {
	h := &fakeHost{list: []provider.Unikernel{running()}}
	other := running()
	other.Name, other.Owner = messages.Name{Label: "hand"}, ""
	h.list = append(h.list, other)
	url := serve(t, h, newPod())
	_, body := get(t, url+"/stats/summary", "good")
	var s stats.Summary
	require.NoError(t, json.Unmarshal([]byte(body), &s))
	require.Equal(t, "host", s.Node.NodeName)
	require.EqualValues(t, 64<<20, *s.Node.Memory.WorkingSetBytes, "that of others is used, too")
	require.Len(t, s.Pods, 1)
	require.Equal(t, stats.PodReference{Name: "web", Namespace: "shop", UID: "1"}, s.Pods[0].PodRef)
	require.EqualValues(t, 1_500_000_000, *s.Pods[0].Containers[0].CPU.UsageCoreNanoSeconds)
	_, body = get(t, url+"/metrics/resource", "good")
	for _, line := range []string{
		`container_cpu_usage_seconds_total{container="c",namespace="shop",pod="web"} 1.5 1772366410000`,
		`pod_memory_working_set_bytes{namespace="shop",pod="web"} 3.3554432e+07 1772366410000`,
		`node_cpu_usage_seconds_total 3 1772366410000`,
		`container_start_time_seconds{container="c",namespace="shop",pod="web"} 1.7723664e+09 1772366410000`,
		`resource_scrape_error 0`,
	} {
		require.Contains(t, strings.Split(body, "\n"), line)
	}
	_, body = get(t, url+"/pods", "good")
	require.Contains(t, body, `"kind":"PodList"`)
}

func TestWhatAUnikernelHasNot(t *testing.T) {
	url := serve(t, &fakeHost{}, newPod())
	status, body := get(t, url+"/exec/shop/web/c?command=sh", "good")
	require.Equal(t, http.StatusNotImplemented, status)
	require.Equal(t, "a unikernel has no processes: exec is not possible\n", body)
	status, _ = get(t, url+"/portForward/shop/web", "good")
	require.Equal(t, http.StatusNotImplemented, status)
}

func TestWhoMayAsk(t *testing.T) {
	api := fake.NewClientset()
	allow(api, false)
	server := httptest.NewServer(handler(&fakeHost{}, newPod(), api, nil))
	defer server.Close()
	status, _ := get(t, server.URL+"/pods", "")
	require.Equal(t, http.StatusUnauthorized, status)
	status, _ = get(t, server.URL+"/pods", "bad")
	require.Equal(t, http.StatusUnauthorized, status)
	status, body := get(t, server.URL+"/stats/summary", "good")
	require.Equal(t, http.StatusForbidden, status)
	require.Equal(t, "somebody may not get nodes/stats of host\n", body)
	status, body = get(t, server.URL+"/healthz", "")
	require.Equal(t, http.StatusOK, status)
	require.Equal(t, "ok", body)
}

// TestACertificateOfTheCluster: the API server shows one.
func TestACertificateOfTheCluster(t *testing.T) {
	own, err := kubelet.OwnCertificate("kube-apiserver", "127.0.0.1")
	require.NoError(t, err)
	leaf, err := x509.ParseCertificate(own.Certificate[0])
	require.NoError(t, err)
	require.NoError(t, leaf.VerifyHostname("127.0.0.1"))
	api := fake.NewClientset()
	allow(api, true)
	for _, trusted := range []bool{true, false} {
		ca := x509.NewCertPool()
		server := httptest.NewUnstartedServer(handler(&fakeHost{}, newPod(), api, ca))
		server.TLS = &tls.Config{ClientAuth: tls.RequestClientCert}
		server.StartTLS()
		client := server.Client()
		shown := newClientCertificate(t, ca, trusted)
		client.Transport.(*http.Transport).TLSClientConfig.Certificates = []tls.Certificate{shown}
		answer, err := client.Get(server.URL + "/pods")
		require.NoError(t, err)
		require.NoError(t, answer.Body.Close())
		if trusted {
			require.Equal(t, http.StatusOK, answer.StatusCode)
		} else {
			require.Equal(t, http.StatusUnauthorized, answer.StatusCode)
		}
		server.Close()
	}
}
