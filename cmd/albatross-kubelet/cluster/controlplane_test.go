// Package cluster tests hosts as nodes of a real control plane: the programs of Kubernetes, with an
// etcd, in a network namespace of their own. `make test-kubernetes` builds them and runs it; it is
// skipped where they are not.
package cluster

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"albatross/test/netns"
	"albatross/test/programs"
)

// Kubernetes is an environment variable with the directory of kube-apiserver, kube-scheduler and
// kube-controller-manager.
const Kubernetes = "ALBATROSS_KUBERNETES"

// patience bounds what must happen. The control plane waits for minutes before it does some things.
const patience = 5 * time.Minute

const apiServer = "https://127.0.0.1:6443"

// bin is the directory of our own programs.
var bin string

func TestMain(m *testing.M) {
	netns.Enter()
	os.Exit(inBin(m))
}

func inBin(m *testing.M) int {
	if os.Getenv(Kubernetes) == "" {
		return m.Run() // all is skipped
	}
	dir, err := os.MkdirTemp("", "cluster-bin")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	bin = dir
	build := exec.Command("go", "build", "-o", bin, "albatross/cmd/albatross-kubelet")
	out, err := build.CombinedOutput()
	if err != nil {
		panic(fmt.Sprintf("cannot build albatross-kubelet: %v\n%s", err, out))
	}
	here, err := os.Getwd()
	err = errors.Join(err, os.Chdir("../../.."), programs.Build(bin, "albatrossd", "albatross-tender", "albatross-network", "albatross-tls-endpoint"), os.Chmod(bin, 0o755), os.Chdir(here))
	if err != nil {
		panic(err)
	}
	return m.Run()
}

// A process is a program that runs.
type process struct {
	t    *testing.T
	args []string
	log  string
	cmd  *exec.Cmd // nil: it does not run
}

func (p *process) start() {
	p.t.Helper()
	log, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	require.NoError(p.t, err)
	defer log.Close()
	p.cmd = exec.Command(p.args[0], p.args[1:]...)
	p.cmd.Stdout, p.cmd.Stderr = log, log
	p.cmd.SysProcAttr = nil
	require.NoError(p.t, p.cmd.Start())
}

// stop ends it by a signal, and waits.
func (p *process) stop(signal unix.Signal) {
	if p.cmd == nil {
		return
	}
	_ = p.cmd.Process.Signal(signal)
	_ = p.cmd.Wait()
	p.cmd = nil
}

// A controlPlane is a cluster without nodes.
type controlPlane struct {
	t         *testing.T
	dir       string
	authority *authority
	admin     *kubernetes.Clientset
	server    *process
}

// program starts a program in a directory of its own, until the test ends.
func program(t *testing.T, dir, name string, args ...string) *process {
	t.Helper()
	p := &process{t: t, args: args, log: filepath.Join(dir, name+".log")}
	t.Cleanup(func() {
		p.stop(unix.SIGKILL)
		if t.Failed() {
			text, _ := os.ReadFile(p.log)
			t.Logf("%s says:\n%s", name, text[max(0, len(text)-2500):])
		}
	})
	p.start()
	return p
}

func startControlPlane(t *testing.T) *controlPlane {
	t.Helper()
	netns.Need(t)
	programs := os.Getenv(Kubernetes)
	if programs == "" {
		t.Skipf("there is no control plane: %s is not set; run 'make test-kubernetes'", Kubernetes)
	}
	etcd, err := exec.LookPath("etcd")
	if err != nil {
		t.Skipf("there is no etcd: %v; install etcd-server", err)
	}
	dir, err := os.MkdirTemp("", "cluster")
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	c := &controlPlane{t: t, dir: dir, authority: newAuthority(t, dir)}
	a := c.authority
	server := a.issue("apiserver", pkix.Name{CommonName: "kube-apiserver"}, "127.0.0.1", "10.96.0.1")
	kubelet := a.issue("kubelet-client", pkix.Name{CommonName: "kube-apiserver-kubelet-client", Organization: []string{"system:masters"}})
	accounts := a.issue("accounts", pkix.Name{CommonName: "accounts"})
	program(t, dir, "etcd", etcd, "--data-dir="+filepath.Join(dir, "etcd"), "--listen-client-urls=http://127.0.0.1:2379", "--advertise-client-urls=http://127.0.0.1:2379",
		"--listen-peer-urls=http://127.0.0.1:2380", "--initial-advertise-peer-urls=http://127.0.0.1:2380", "--initial-cluster=default=http://127.0.0.1:2380", "--unsafe-no-fsync")
	c.server = program(t, dir, "apiserver", filepath.Join(programs, "kube-apiserver"), "--etcd-servers=http://127.0.0.1:2379", "--bind-address=127.0.0.1", "--advertise-address=127.0.0.1",
		"--secure-port=6443", "--tls-cert-file="+server.cert, "--tls-private-key-file="+server.key, "--client-ca-file="+a.file,
		"--service-account-issuer=https://kubernetes.default.svc", "--service-account-key-file="+accounts.cert, "--service-account-signing-key-file="+accounts.key,
		"--service-cluster-ip-range=10.96.0.0/16", "--authorization-mode=Node,RBAC", "--endpoint-reconciler-type=none",
		"--kubelet-client-certificate="+kubelet.cert, "--kubelet-client-key="+kubelet.key, "--kubelet-preferred-address-types=InternalIP")
	c.admin, err = kubernetes.NewForConfig(c.config("admin", pkix.Name{CommonName: "admin", Organization: []string{"system:masters"}}))
	require.NoError(t, err)
	c.until("the API server is ready", func(ctx context.Context) bool {
		_, err := c.admin.Discovery().RESTClient().Get().AbsPath("/readyz").DoRaw(ctx)
		return err == nil
	})
	program(t, dir, "scheduler", filepath.Join(programs, "kube-scheduler"), "--leader-elect=false", "--bind-address=127.0.0.1",
		"--kubeconfig="+c.kubeconfig("scheduler", c.config("scheduler", pkix.Name{CommonName: "system:kube-scheduler"})))
	program(t, dir, "controllers", filepath.Join(programs, "kube-controller-manager"), "--leader-elect=false", "--bind-address=127.0.0.1", "--use-service-account-credentials",
		"--service-account-private-key-file="+accounts.key, "--root-ca-file="+a.file,
		"--kubeconfig="+c.kubeconfig("controllers", c.config("controllers", pkix.Name{CommonName: "system:kube-controller-manager"})))
	return c
}

// until waits for what must happen.
func (c *controlPlane) until(what string, holds func(context.Context) bool) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for !holds(ctx) {
		require.NoError(c.t, ctx.Err(), "%s: it does not happen", what)
		time.Sleep(20 * time.Millisecond)
	}
}

// config returns how somebody with a certificate reaches the API server.
func (c *controlPlane) config(name string, who pkix.Name) *rest.Config {
	pair := c.authority.issue(name, who)
	return &rest.Config{Host: apiServer, QPS: 200, Burst: 400, TLSClientConfig: rest.TLSClientConfig{CAFile: c.authority.file, CertFile: pair.cert, KeyFile: pair.key}}
}

// kubeconfig writes a kubeconfig, and returns its path.
func (c *controlPlane) kubeconfig(name string, config *rest.Config) string {
	c.t.Helper()
	k := clientcmdapi.NewConfig()
	k.Clusters["test"] = &clientcmdapi.Cluster{Server: config.Host, CertificateAuthority: config.CAFile}
	k.AuthInfos["test"] = &clientcmdapi.AuthInfo{ClientCertificate: config.CertFile, ClientKey: config.KeyFile, Token: config.BearerToken}
	k.Contexts["test"] = &clientcmdapi.Context{Cluster: "test", AuthInfo: "test"}
	k.CurrentContext = "test"
	path := filepath.Join(c.dir, name+".kubeconfig")
	require.NoError(c.t, clientcmd.WriteToFile(*k, path))
	return path
}

// awaitAccount waits until the namespace has what each pod gets.
func (c *controlPlane) awaitAccount(namespace string) {
	c.t.Helper()
	c.until("the namespace has a service account", func(ctx context.Context) bool {
		_, err := c.admin.CoreV1().ServiceAccounts(namespace).Get(ctx, "default", metav1.GetOptions{})
		return err == nil
	})
}

// An authority vouches for certificates.
type authority struct {
	t    *testing.T
	dir  string
	file string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// A pair is the files of a certificate and its key.
type pair struct{ cert, key string }

const valid = 24 * time.Hour

func newAuthority(t *testing.T, dir string) *authority {
	t.Helper()
	a := &authority{t: t, dir: dir, file: filepath.Join(dir, "ca.pem")}
	var err error
	a.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "cluster"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(valid),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &a.key.PublicKey, a.key)
	require.NoError(t, err)
	a.cert, err = x509.ParseCertificate(der)
	require.NoError(t, err)
	writePEM(t, a.file, "CERTIFICATE", der)
	return a
}

// issue makes a certificate for a client, and for a server if it has addresses.
func (a *authority) issue(name string, who pkix.Name, addresses ...string) pair {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(a.t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: who, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(valid),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	}
	for _, address := range addresses {
		template.IPAddresses = append(template.IPAddresses, net.ParseIP(address))
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, &key.PublicKey, a.key)
	require.NoError(a.t, err)
	p := pair{filepath.Join(a.dir, name+".pem"), filepath.Join(a.dir, name+".key")}
	writePEM(a.t, p.cert, "CERTIFICATE", der)
	text, err := x509.MarshalECPrivateKey(key)
	require.NoError(a.t, err)
	writePEM(a.t, p.key, "EC PRIVATE KEY", text)
	return p
}

func writePEM(t *testing.T, path, kind string, der []byte) {
	t.Helper()
	require.NoError(t, os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600))
}

// documents returns the documents of a file in YAML.
func documents(t *testing.T, path string) []string {
	t.Helper()
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	return strings.Split(string(text), "\n---\n")
}
