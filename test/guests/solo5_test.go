package guests_test

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"albatross/test/guests"
)

// The guests do under Solo5's own tenders, where these are installed, what
// this package says they do; otherwise a test of ours that uses them would
// prove little.
func TestGuestsUnderSolo5(t *testing.T) {
	for _, target := range guests.Targets() {
		t.Run(target, func(t *testing.T) {
			tender, err := exec.LookPath("solo5-" + target)
			if err != nil {
				t.Skipf("solo5-%s is not installed", target)
			}
			if target == "hvt" {
				if err := guests.KVM(); err != nil {
					t.Skipf("this machine cannot run hvt: %v", err)
				}
			}
			testGuests(t, tender, target)
		})
	}
}

func testGuests(t *testing.T, tender, target string) {
	dir := t.TempDir()
	disk := dir + "/disk"
	require.NoError(t, os.WriteFile(disk, make([]byte, 4096), 0o600))
	for _, c := range []struct {
		guest     string
		options   []string
		arguments []string
		exit      int
		output    string
	}{
		{"hello", nil, []string{"--name=a", "--once"}, 0, "hello from albatross: --name=a --once\n"},
		{"exit", nil, []string{"--name=a", "7", "10"}, 7, ""},
		{"exit", nil, []string{"--name=a", "7", "0", "refuse-name"}, 64, ""},
		{"exit", nil, nil, 0, ""},
		{"abort", nil, nil, 255, ""},
		{"chatty", nil, []string{"2", "exit"}, 0, "line 1\nline 2\n"},
		{"memory", nil, nil, 0, "238 pages of 2 MB\n"},
		{"badcall", nil, []string{"nonsense"}, 64, ""},
		{"disk", []string{"--block:storage=" + disk}, []string{"write", "abc"}, 0, "4096 bytes in sectors of 512\nabc\n"},
	} {
		arguments := append([]string{"--mem=2"}, c.options...)
		arguments = append(arguments, "--", guests.Write(t, dir, c.guest, target))
		exit, output := run(t, tender, append(arguments, c.arguments...)...)
		require.Equal(t, c.exit, exit, "%s %q", c.guest, c.arguments)
		require.Equal(t, c.output, output, "%s %q", c.guest, c.arguments)
	}
}

func run(t *testing.T, program string, arguments ...string) (exit int, stdout string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	c := exec.CommandContext(ctx, program, arguments...)
	var output bytes.Buffer
	c.Stdout = &output
	err := c.Run()
	if _, exited := err.(*exec.ExitError); err != nil && !exited {
		require.NoError(t, err)
	}
	return c.ProcessState.ExitCode(), output.String()
}
