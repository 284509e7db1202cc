package registry

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// dockerRegistry starts Debian's docker-registry, and returns its host. The test is skipped where
// that is not installed.
func dockerRegistry(t *testing.T) string {
	program, err := exec.LookPath("docker-registry")
	if err != nil {
		t.Skip("docker-registry is not installed: apt-get install docker-registry")
	}
	config := filepath.Join(t.TempDir(), "config.yml")
	require.NoError(t, os.WriteFile(config, fmt.Appendf(nil,
		"version: 0.1\nlog: {level: info}\nstorage: {filesystem: {rootdirectory: %s}, delete: {enabled: true}}\nhttp: {addr: 127.0.0.1:0}\n", t.TempDir()), 0o600))
	c := exec.Command(program, "serve", config)
	c.SysProcAttr = &unix.SysProcAttr{Pdeathsig: unix.SIGKILL}
	log, err := c.StderrPipe()
	require.NoError(t, err)
	require.NoError(t, c.Start())
	lines, read := bufio.NewScanner(log), make(chan struct{})
	t.Cleanup(func() {
		_ = c.Process.Kill() // it may have ended
		<-read
		_ = c.Wait() // it was killed
	})
	host := ""
	for host == "" && lines.Scan() {
		if match := listening.FindStringSubmatch(lines.Text()); match != nil {
			host = match[1]
		}
	}
	go func() {
		defer close(read)
		_, _ = io.Copy(io.Discard, log) // until it ends
	}()
	require.NotEmpty(t, host, "docker-registry has ended")
	return host
}

// listening is what docker-registry logs when it can be asked.
var listening = regexp.MustCompile(`msg="listening on ([^"]+)"`)
