package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestTheUnit: systemd knows all that the unit says, and we what it gives us.
func TestTheUnit(t *testing.T) {
	const installed = "/usr/local/bin/albatross-kubelet"
	text, err := os.ReadFile("../../packaging/kubernetes/albatross-kubelet.service")
	require.NoError(t, err)
	_, line, found := strings.Cut(string(text), "\nExecStart="+installed+" ")
	require.True(t, found)
	line, _, _ = strings.Cut(line, "\n")
	line = strings.ReplaceAll(line, "$OPTIONS", "--node-ip=192.0.2.10 --network=pods --path=k8s") // as the unit itself proposes
	require.Contains(t, string(text), "OPTIONS=--node-ip=192.0.2.10 --network=pods --path=k8s")
	require.NoError(t, command().ParseFlags(strings.Fields(line)))

	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Skipf("there is no systemd-analyze: %v; install systemd", err)
	}
	program, err := os.Executable()
	require.NoError(t, err)
	unit := filepath.Join(t.TempDir(), "albatross-kubelet.service")
	require.NoError(t, os.WriteFile(unit, []byte(strings.ReplaceAll(string(text), installed, program)), 0o644))
	said, err := exec.Command(analyze, "verify", unit).CombinedOutput()
	require.NoError(t, err, string(said))
	require.NotContains(t, string(said), unit) // warnings about it
}
