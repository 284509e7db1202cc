package tender_test

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"albatross/runtime/confine"
	"albatross/runtime/landlock"
	"albatross/runtime/tender"
)

// confinedShell starts a script as a tender that is not ours, with an image and a block device.
// It returns its lines until the one that says done; then it waits.
func confinedShell(t *testing.T, script, image, disk string, options ...string) (g *tender.Gated, lines []string) {
	t.Helper()
	c := newConsole(t)
	command := shell(c.writer, "")
	command.Args = slices.Concat([]string{"-c", script + "; echo done; exec sleep 1h", "--block:storage=" + disk}, options, []string{"--", image})
	command.Confine = &confine.Order{User: true, Root: t.TempDir()}
	g, err := tender.Launch(t.Context(), command)
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, g.Handle().Signal(unix.SIGKILL))
		ended(t, g.Handle())
		require.NoError(t, g.Handle().Close())
	})
	require.NoError(t, g.Release(t.Context()))
	require.NoError(t, unix.SetNonblock(int(c.reader.Fd()), false))
	for scanner := bufio.NewScanner(c.reader); scanner.Scan() && scanner.Text() != "done"; {
		lines = append(lines, scanner.Text())
	}
	return g, lines
}

func needsRoot(t *testing.T) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("only root has capabilities to give up")
	}
}

func statusOf(t *testing.T, g *tender.Gated) string {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", g.Process().PID))
	require.NoError(t, err)
	return string(text)
}

// filesOf makes an image and a block device.
func filesOf(t *testing.T) (image, disk string) {
	t.Helper()
	dir := t.TempDir()
	image, disk = filepath.Join(dir, "image"), filepath.Join(dir, "disk")
	require.NoError(t, os.WriteFile(image, []byte("image"), 0o400))
	require.NoError(t, os.WriteFile(disk, make([]byte, 4096), 0o600))
	return image, disk
}

// TestATenderOfSolo5HasNoCapabilities: it stays root, and has nothing of root but its files.
func TestATenderOfSolo5HasNoCapabilities(t *testing.T) {
	needsRoot(t)
	image, disk := filesOf(t)
	g, _ := confinedShell(t, ":", image, disk)
	require.Empty(t, g.Missing())
	status := statusOf(t, g)
	for _, set := range []string{"CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"} {
		require.Contains(t, status, "\n"+set+":\t0000000000000000\n")
	}
	require.Contains(t, status, "\nNoNewPrivs:\t1\n")
	require.Regexp(t, `\nGroups:\s*\n`, status)
	limits, err := os.ReadFile(fmt.Sprintf("/proc/%d/limits", g.Process().PID))
	require.NoError(t, err)
	require.Regexp(t, `\nMax core file size +1 +1 `, string(limits))
	require.Regexp(t, `\nMax file size +1048576 +1048576 `, string(limits))
	require.Regexp(t, `\nMax open files +512 +512 `, string(limits))
	score, err := os.ReadFile(fmt.Sprintf("/proc/%d/oom_score_adj", g.Process().PID))
	require.NoError(t, err)
	require.Equal(t, "500\n", string(score))
}

// TestATenderOfSolo5KeepsWhatItNeeds for a file of another user, and that is reported.
func TestATenderOfSolo5KeepsWhatItNeeds(t *testing.T) {
	needsRoot(t)
	image, disk := filesOf(t)
	require.NoError(t, os.Chown(disk, 12345, 12345))
	g, lines := confinedShell(t, "cat "+disk+" > /dev/null && echo read", image, disk)
	require.Equal(t, []string{"read"}, lines)
	require.Len(t, g.Missing(), 1)
	require.Contains(t, g.Missing()[0], "/bin/sh keeps CAP_DAC_OVERRIDE")
	require.Contains(t, statusOf(t, g), "\nCapEff:\t0000000000000002\n")
}

// TestATenderOfSolo5SeesItsFilesOnly, and signals nobody.
func TestATenderOfSolo5SeesItsFilesOnly(t *testing.T) {
	if landlock.Version() == 0 {
		t.Skip("this kernel has no Landlock, or it is off")
	}
	image, disk := filesOf(t)
	secret := filepath.Join(t.TempDir(), "secret")
	require.NoError(t, os.WriteFile(secret, []byte("secret"), 0o666))
	_, lines := confinedShell(t, strings.Join([]string{
		"cat " + image + " && echo :image",
		"echo x 1<> " + disk + " && echo :disk",
		"cat " + secret + " 2>/dev/null || echo :no secret",
		"(echo x >> " + secret + ") 2>/dev/null || echo :not written",
		"(echo x > " + secret + ".new) 2>/dev/null || echo :not made",
		"(echo x > " + image + ") 2>/dev/null || echo :not changed",
	}, "; "), image, disk)
	require.Equal(t, []string{"image:image", ":disk", ":no secret", ":not written", ":not made", ":not changed"}, lines)
	text, err := os.ReadFile(disk)
	require.NoError(t, err)
	require.Equal(t, "x\n", string(text[:2]))
	if landlock.Version() >= 6 {
		_, lines = confinedShell(t, fmt.Sprintf("kill -0 %d 2>/dev/null || echo :no signal", os.Getpid()), image, disk)
		require.Equal(t, []string{":no signal"}, lines)
	}
}

// TestATenderOfSolo5HasItsOwnNamespaces: also of the network, if it uses none.
func TestATenderOfSolo5HasItsOwnNamespaces(t *testing.T) {
	needsRoot(t)
	image, disk := filesOf(t)
	without, _ := confinedShell(t, ":", image, disk)
	with, _ := confinedShell(t, ":", image, disk, "--net:service=tap0")
	require.True(t, separated(t, without, "net"))
	require.False(t, separated(t, with, "net"))
	for _, kind := range []string{"ipc", "uts"} {
		require.True(t, separated(t, without, kind), kind)
	}
}

func separated(t *testing.T, g *tender.Gated, kind string) bool {
	t.Helper()
	ours, err := os.Readlink("/proc/self/ns/" + kind)
	require.NoError(t, err)
	its, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/%s", g.Process().PID, kind))
	require.NoError(t, err)
	return ours != its
}
