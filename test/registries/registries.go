// Package registries starts registries of images for tests: Debian's docker-registry.
package registries

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"

	"golang.org/x/crypto/bcrypt"
	"golang.org/x/sys/unix"
)

// ErrMissing says that there is no registry to start.
var ErrMissing = errors.New("docker-registry is not installed: apt-get install docker-registry")

// Options are how a registry is to be. The zero value speaks http with everybody.
type Options struct {
	User, Password   string // who may use it; empty: everybody
	Certificate, Key string // the files with which it speaks https
}

// A Registry is one that runs. Whoever has started it stops it.
type Registry struct {
	Host    string // HOST:PORT
	process *exec.Cmd
	read    chan struct{} // closed when all of its log was read
}

// listening is what docker-registry logs when it can be asked.
var listening = regexp.MustCompile(`msg="listening on ([^",]+)`)

// Start starts a registry on a port of its own, which keeps everything in a directory.
func Start(dir string, o Options) (*Registry, error) {
	program, err := exec.LookPath("docker-registry")
	if err != nil {
		return nil, ErrMissing
	}
	path, err := configure(dir, o)
	if err != nil {
		return nil, err
	}
	r := &Registry{process: exec.Command(program, "serve", path), read: make(chan struct{})}
	r.process.SysProcAttr = &unix.SysProcAttr{Pdeathsig: unix.SIGKILL}
	log, err := r.process.StderrPipe()
	if err != nil {
		return nil, err
	}
	if err := r.process.Start(); err != nil {
		return nil, err
	}
	var said strings.Builder
	lines := bufio.NewScanner(log)
	for r.Host == "" && lines.Scan() {
		said.WriteString(lines.Text() + "\n")
		if match := listening.FindStringSubmatch(lines.Text()); match != nil {
			r.Host = match[1]
		}
	}
	go func() {
		defer close(r.read)
		_, _ = io.Copy(io.Discard, log) // until it ends
	}()
	if r.Host == "" {
		r.Stop()
		return nil, fmt.Errorf("docker-registry has ended: %s", &said)
	}
	return r, nil
}

// Stop ends the registry.
func (r *Registry) Stop() {
	_ = r.process.Process.Kill() // it may have ended
	<-r.read
	_ = r.process.Wait() // it was killed
}

// configure writes the configuration of a registry.
func configure(dir string, o Options) (path string, err error) {
	text := fmt.Sprintf("version: 0.1\nlog: {level: info}\nstorage: {filesystem: {rootdirectory: %s}, delete: {enabled: true}}\n", filepath.Join(dir, "storage"))
	text += "http:\n  addr: 127.0.0.1:0\n"
	if o.Certificate != "" {
		text += fmt.Sprintf("  tls: {certificate: %s, key: %s}\n", o.Certificate, o.Key)
	}
	if o.User != "" {
		hash, err := bcrypt.GenerateFromPassword([]byte(o.Password), bcrypt.MinCost)
		if err != nil {
			return "", err
		}
		users := filepath.Join(dir, "users")
		if err := os.WriteFile(users, fmt.Appendf(nil, "%s:%s\n", o.User, hash), 0o600); err != nil {
			return "", err
		}
		text += fmt.Sprintf("auth: {htpasswd: {realm: tests, path: %s}}\n", users)
	}
	path = filepath.Join(dir, "config.yml")
	return path, os.WriteFile(path, []byte(text), 0o600)
}
