// Albatross-kubelet makes a host of albatrossd a node of Kubernetes: pods that are scheduled to the node
// become unikernels of the daemon. It asks the daemon as any other client: beside it at its sockets, so that
// it needs no privileges except membership in the daemon's group, or from afar through its endpoint.
//
// It is a module of its own, so that the libraries of Kubernetes reach nothing else.
//
// # Reading the source
//
//	pods/      what a pod means as a unikernel, and how a unikernel is shown as a pod: pure
//	provider/  what is done about each pod
//	volumes/   block devices for claims
//	daemon/    how the daemon is asked
//	hostnode/  the node
//	kubelet/   logs and statistics for the API server
//	main.go    the command line
//	run.go     how all of that is put together
//	claim.go   one provider for each daemon
//	images.go  images from registries
package main

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"

	"albatross/cmd/albatross-kubelet/daemon"
	"albatross/cmd/albatross-kubelet/hostnode"
	"albatross/cmd/commandline"
	"albatross/messages"
	"albatross/runtime/activation"
)

// version is set when a release is built.
var version = "devel"

// exitUsage is for a wrong command line, as in albatross-client.
const exitUsage = 124

// options are the command line.
type options struct {
	kubeconfig string
	nodeName   string
	nodeIP     string
	hostIP     string
	tmpdir     string
	afar       string
	ca, caKey  string
	serverCA   string
	path       string
	networks   []string
	listen     string
	cert, key  string
	clientCA   string
	taints     []string
	labels     []string
	maxPods    int
	targets    []string
	insecure   bool
	log        commandline.Logging
}

func main() { commandline.Main(command(), exitUsage) }

func command() *cobra.Command {
	var o options
	cmd := &cobra.Command{
		Use:   "albatross-kubelet",
		Short: "Make this host a node of Kubernetes, whose pods are unikernels",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := commandline.CheckTexts(c.Flags(), "taint"); err != nil {
				return err
			}
			s, err := o.check()
			if err != nil {
				return err
			}
			log, err := o.log.Logger("albatross-kubelet")
			if err != nil {
				return err
			}
			defer activation.OnHangup(log, nil)()
			ctx, stop := commandline.UntilTold()
			defer stop()
			return s.run(ctx, log)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&o.kubeconfig, "kubeconfig", "", "a file that tells where the API server is, and who we are; without it, what a pod of the cluster has")
	flags.StringVar(&o.nodeName, "node-name", "", "the name of the node (the name of this host)")
	flags.StringVar(&o.nodeIP, "node-ip", "", "the address of the node in the cluster, where --listen is reached")
	flags.StringVar(&o.hostIP, "host-ip", "", "the address of the host of the daemon, where it publishes ports (that of --node-ip)")
	flags.StringVar(&o.tmpdir, "tmpdir", "/run/albatross", "where the daemon has its sockets")
	flags.StringVar(&o.afar, "destination", "", "the endpoint of a daemon on another machine, HOST:PORT, which is asked with a certificate")
	flags.StringVar(&o.ca, "ca", "ca.pem", "with --destination: a certificate with a policy, which signs ours, and those that vouch for it")
	flags.StringVar(&o.caKey, "ca-key", "ca.key", "with --destination: its private key")
	flags.StringVar(&o.serverCA, "server-ca", "cacert.pem", "with --destination: the certificate that vouches for the endpoint")
	flags.StringVar(&o.path, "path", "", "the path below which unikernels of pods are, from afar below that of the certificates; namespaces are below it")
	flags.StringArrayVar(&o.networks, "network", nil, "a network or bridge that pods may use; repeat for several; the first is that of a pod that names none")
	flags.StringVar(&o.listen, "listen", ":10250", "where the API server asks for logs and statistics: [ADDRESS]:PORT")
	flags.StringVar(&o.cert, "tls-cert", "", "the certificate for that, in PEM; without it, one that nobody vouches for")
	flags.StringVar(&o.key, "tls-key", "", "its key")
	flags.StringVar(&o.clientCA, "client-ca", "", "the authority of the certificates that clients show, in PEM (the one in the kubeconfig)")
	flags.StringArrayVar(&o.taints, "taint", []string{hostnode.DefaultTaint}, "a taint of the node, KEY=VALUE:EFFECT; repeat for several; empty for none")
	flags.StringArrayVar(&o.labels, "label", nil, "a label of the node, KEY=VALUE; repeat for several")
	flags.IntVar(&o.maxPods, "max-pods", 1000, "how many pods the node takes, if the policy allows them")
	flags.StringArrayVar(&o.targets, "target", []string{"hvt", "spt"}, "a target of Solo5 whose images are used; of an image for several, the first that is given counts")
	flags.BoolVar(&o.insecure, "insecure-registry", false, "ask registries also by http, or where nobody vouches for their certificates")
	o.log.Register(flags)
	commandline.Daemon(cmd, version)
	return cmd
}

// A setup is what a command line asks for.
type setup struct {
	options
	path   messages.Path
	taints []corev1.Taint
	labels map[string]string
	port   uint16

	endpoint  *daemon.Endpoint // nil: the daemon is on this machine
	published netip.Addr       // where we reach ports that the daemon publishes; invalid: at loopback
}

// check returns what is asked for, or why it cannot be.
func (o options) check() (s setup, err error) {
	s = setup{options: o, labels: map[string]string{}}
	if s.nodeName == "" {
		if s.nodeName, err = os.Hostname(); err != nil {
			return s, fmt.Errorf("cannot find the name of this host: %w: give --node-name", err)
		}
		s.nodeName = strings.ToLower(s.nodeName)
	}
	if wrong := validation.IsDNS1123Subdomain(s.nodeName); len(wrong) > 0 {
		return s, fmt.Errorf("cannot use --node-name %q: %s", s.nodeName, strings.Join(wrong, "; "))
	}
	if s.path, err = messages.ParsePath(o.path); err != nil {
		return s, fmt.Errorf("cannot use --path %q: %w", o.path, err)
	}
	if err := s.checkAddresses(); err != nil {
		return s, err
	}
	if s.port, err = portOf(o.listen); err != nil {
		return s, fmt.Errorf("cannot use --listen %q: %w", o.listen, err)
	}
	if (o.cert == "") != (o.key == "") {
		return s, errors.New("cannot use --tls-cert and --tls-key without each other")
	}
	for _, text := range o.taints {
		if text == "" {
			continue
		}
		taint, err := hostnode.ParseTaint(text)
		if err != nil {
			return s, fmt.Errorf("cannot use --taint %q: %w", text, err)
		}
		s.taints = append(s.taints, taint)
	}
	for _, text := range o.labels {
		key, value, found := strings.Cut(text, "=")
		if !found || key == "" {
			return s, fmt.Errorf("cannot use --label %q: it is not KEY=VALUE", text)
		}
		s.labels[key] = value
	}
	if o.maxPods < 1 {
		return s, errors.New("cannot use --max-pods: it is from 1 on")
	}
	return s, nil
}

// checkAddresses reads what is said about where the daemon, its host and the node are.
func (s *setup) checkAddresses() error {
	if _, err := netip.ParseAddr(s.nodeIP); s.nodeIP != "" && err != nil {
		return fmt.Errorf("cannot use --node-ip %q: it is no address", s.nodeIP)
	}
	if s.hostIP == "" {
		s.hostIP = s.nodeIP
	}
	host, err := netip.ParseAddr(s.hostIP)
	if s.hostIP != "" && err != nil {
		return fmt.Errorf("cannot use --host-ip %q: it is no address", s.hostIP)
	}
	if s.afar == "" {
		return nil
	}
	if _, port, err := net.SplitHostPort(s.afar); err != nil || port == "" {
		return fmt.Errorf("cannot use --destination %q: it is not HOST:PORT", s.afar)
	}
	s.published = host
	s.endpoint = &daemon.Endpoint{Address: s.afar, CA: s.ca, CAKey: s.caKey, ServerCA: s.serverCA}
	return nil
}

// portOf returns the port of [ADDRESS]:PORT.
func portOf(listen string) (uint16, error) {
	if strings.HasPrefix(listen, ":") {
		listen = "0.0.0.0" + listen
	}
	at, err := netip.ParseAddrPort(listen)
	if err != nil || at.Port() == 0 {
		return 0, errors.New("it is not [ADDRESS]:PORT")
	}
	return at.Port(), nil
}
