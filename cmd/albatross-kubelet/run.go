package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	typed "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/record"

	"albatross/cmd/albatross-kubelet/daemon"
	"albatross/cmd/albatross-kubelet/hostnode"
	"albatross/cmd/albatross-kubelet/kubelet"
	"albatross/cmd/albatross-kubelet/pods"
	"albatross/cmd/albatross-kubelet/provider"
	"albatross/cmd/albatross-kubelet/volumes"
	"albatross/messages"
	"albatross/sockets/registry"
)

const (
	// beginAgain is the pause before the daemon or the API server is asked again, at the start.
	beginAgain = 2 * time.Second
	// askTime bounds such a question.
	askTime = 20 * time.Second
	// headerTime bounds how long a client of our server takes to ask.
	headerTime = 10 * time.Second
	// farewell bounds how long clients of our server have to leave.
	farewell = 5 * time.Second

	// How many requests a second the API server gets from us: a pod that is started takes some five.
	requestsPerSecond, requestsAtOnce = 100, 200
)

// run serves the node until ctx is done.
func (s setup) run(ctx context.Context, log *slog.Logger) error {
	d := daemon.Daemon{Dir: s.tmpdir, Afar: s.endpoint}
	if d.Afar != nil {
		defer d.Afar.Close()
	}
	config, err := s.restConfig()
	if err != nil {
		return err
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return fmt.Errorf("cannot use the kubeconfig: %w", err)
	}
	certificate, authority, err := s.certificates(config)
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", s.listen)
	if err != nil {
		return fmt.Errorf("cannot listen: %w", err)
	}
	defer listener.Close()
	secure := &tls.Config{
		MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{certificate}, ClientAuth: tls.RequestClientCert,
	}
	return claimed(ctx, log, d, client, func(ctx context.Context) error {
		h := &host{Daemon: d, setup: s}
		h.cluster = h.begin(ctx, log, client)
		if ctx.Err() != nil {
			return nil
		}
		return h.serve(ctx, log, client, listener, secure, authority)
	})
}

// begin waits until daemon and API server answer, and returns which cluster it is.
func (h *host) begin(ctx context.Context, log *slog.Logger, client kubernetes.Interface) (cluster pods.Cluster) {
	until(ctx, log, "ask the daemon what the host has", func(ctx context.Context) error {
		_, err := h.load(ctx)
		return err
	})
	until(ctx, log, "ask the API server which cluster it is of", func(ctx context.Context) error {
		system, err := client.CoreV1().Namespaces().Get(ctx, metav1.NamespaceSystem, metav1.GetOptions{})
		if err == nil {
			cluster = pods.ClusterOf(system.UID)
		}
		return err
	})
	return cluster
}

// until does something until it succeeds, or ctx is done.
func until(ctx context.Context, log *slog.Logger, what string, do func(context.Context) error) {
	for ctx.Err() == nil {
		limited, cancel := context.WithTimeout(ctx, askTime)
		err := do(limited)
		cancel()
		if err == nil {
			return
		}
		log.Warn("Cannot "+what+", and try again", "error", err)
		timer := time.NewTimer(beginAgain)
		select {
		case <-ctx.Done():
		case <-timer.C:
		}
		timer.Stop()
	}
}

func (s setup) restConfig() (*rest.Config, error) {
	config, err := clientcmd.BuildConfigFromFlags("", s.kubeconfig)
	if err != nil {
		return nil, fmt.Errorf("cannot find the API server: %w: give --kubeconfig, or run in a pod of the cluster", err)
	}
	config.QPS, config.Burst = requestsPerSecond, requestsAtOnce
	config.UserAgent = "albatross-kubelet/" + version
	return config, nil
}

// certificates returns the certificate of our server, and the authority of those that clients show.
func (s setup) certificates(config *rest.Config) (certificate tls.Certificate, authority *x509.CertPool, err error) {
	if s.cert != "" {
		certificate, err = tls.LoadX509KeyPair(s.cert, s.key)
	} else {
		certificate, err = kubelet.OwnCertificate(s.nodeName, s.nodeIP)
	}
	if err != nil {
		return certificate, nil, fmt.Errorf("cannot use a certificate for our server: %w", err)
	}
	text := config.CAData
	file := config.CAFile
	if s.clientCA != "" {
		text, file = nil, s.clientCA
	}
	if len(text) == 0 && file != "" {
		if text, err = os.ReadFile(file); err != nil {
			return certificate, nil, fmt.Errorf("cannot read the authority of clients: %w", err)
		}
	}
	if len(text) == 0 { // tokens only
		return certificate, nil, nil
	}
	authority = x509.NewCertPool()
	if !authority.AppendCertsFromPEM(text) {
		return certificate, nil, errors.New("cannot use the authority of clients: there is no certificate in it")
	}
	return certificate, authority, nil
}

// A host is the daemon and what is known about it.
type host struct {
	daemon.Daemon
	setup    setup
	cluster  pods.Cluster
	networks atomic.Pointer[map[string]daemon.Network] // when they were asked for last; nil: never
}

// serve makes the host a node until ctx is done, or a part of it fails.
func (h *host) serve(ctx context.Context, log *slog.Logger, client kubernetes.Interface, listener net.Listener, secure *tls.Config, authority *x509.CertPool) error {
	load, err := h.load(ctx)
	if err != nil {
		return fmt.Errorf("cannot ask the daemon what the host has: %w", err)
	}
	s := h.setup
	broadcaster := record.NewBroadcaster(record.WithContext(ctx))
	defer broadcaster.Shutdown()
	broadcaster.StartRecordingToSink(&typed.EventSinkImpl{Interface: client.CoreV1().Events("")})
	recorder := broadcaster.NewRecorder(scheme.Scheme, corev1.EventSource{Component: "albatross-kubelet", Host: s.nodeName})
	images := registry.New(registry.Options{Insecure: s.insecure})
	defer images.Close()
	p, err := provider.New(provider.Config{
		Client: client, Host: h.Daemon, Fetch: fetchFrom(images, s.targets), Node: s.nodeName, HostIP: s.hostIP, Cluster: h.cluster,
		Events:   recorder,
		Settings: pods.Settings{Path: s.path, Networks: s.options.networks, CPUs: load.Policy.CPUIDs},
		Reached:  h.reached, Published: s.published, Log: log, Now: time.Now,
	})
	if err != nil {
		return err
	}
	provisioner, err := volumes.New(volumes.Config{
		Client: client, Host: h.Daemon, Node: s.nodeName, Path: s.path, Cluster: h.cluster, Log: log, Events: recorder,
	})
	if err != nil {
		return err
	}
	keeper := &hostnode.Keeper{
		Client: client, Ping: h.Ping, Load: h.load, Log: log, Now: time.Now, Status: hostnode.UsualStatus, Again: hostnode.UsualAgain,
		Description: hostnode.Description{
			Name: s.nodeName, IP: s.nodeIP, HostIP: s.hostIP, Port: int32(s.port), Version: version, Taints: s.taints, Labels: s.labels, MaxPods: s.maxPods,
			Subnets: h.subnets(),
		},
	}
	server := &kubelet.Server{Host: h.Daemon, Pods: p, Node: s.nodeName, Path: s.path, Cluster: h.cluster, Log: log, Now: time.Now}
	web := &http.Server{
		Handler:   server.Handler(kubelet.Authorizer{Client: client, Node: s.nodeName, CA: authority}),
		TLSConfig: secure, ReadHeaderTimeout: headerTime,
		BaseContext: func(net.Listener) context.Context { return ctx },
		ErrorLog:    slog.NewLogLogger(log.Handler(), slog.LevelDebug), // clients that go away, mostly
	}
	return together(ctx,
		p.Run,
		provisioner.Run,
		func(ctx context.Context) error { keeper.Run(ctx); return nil },
		func(ctx context.Context) error { return serveWeb(ctx, web, listener) },
	)
}

// together runs all parts until ctx is done. When one ends, the others do.
func together(ctx context.Context, parts ...func(context.Context) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var running sync.WaitGroup
	ended := make([]error, len(parts))
	for i, part := range parts {
		running.Go(func() {
			defer cancel()
			ended[i] = part(ctx)
		})
	}
	running.Wait()
	return errors.Join(ended...)
}

// serveWeb answers requests until ctx is done.
func serveWeb(ctx context.Context, web *http.Server, listener net.Listener) error {
	ended := make(chan error, 1)
	go func() { ended <- web.ServeTLS(listener, "", "") }()
	select {
	case err := <-ended:
		return fmt.Errorf("cannot serve logs and statistics: %w", err)
	case <-ctx.Done():
	}
	limited, cancel := context.WithTimeout(context.WithoutCancel(ctx), farewell)
	defer cancel()
	if web.Shutdown(limited) != nil { // who still follows a log is cut off
		_ = web.Close()
	}
	<-ended
	return nil
}

// load returns what the host has for pods, and what unikernels use of that which are none.
func (h *host) load(ctx context.Context) (load hostnode.Load, err error) {
	of := h.setup.path
	if load.Policy, err = h.Policy(ctx, of); err != nil && of != messages.Root {
		of = messages.Root
		load.Policy, err = h.Policy(ctx, of)
	}
	if err != nil {
		return load, err
	}
	networks, err := h.Networks(ctx)
	if err != nil {
		return load, err
	}
	h.networks.Store(&networks)
	unikernels, err := h.List(ctx, of)
	for _, u := range unikernels {
		if _, ours := pods.ParseOwner(h.cluster, u.Owner); !ours && u.State != messages.StateEnded {
			load.Foreign++
			load.Memory += u.Arguments.Memory
		}
	}
	return load, err
}

// reached reports whether the addresses of a network are reached from outside of the network.
func (h *host) reached(network string) bool {
	known := h.networks.Load()
	return known != nil && (*known)[network].Kernel
}

// subnets returns those of pods that others may route to the host: those of the first network.
func (h *host) subnets() []netip.Prefix {
	names, known := h.setup.options.networks, h.networks.Load()
	if len(names) == 0 || known == nil || !(*known)[names[0]].Routed {
		return nil
	}
	return []netip.Prefix{(*known)[names[0]].Subnet}
}
