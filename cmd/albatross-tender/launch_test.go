package main

import (
	"bufio"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestALauncherBecomesTheTender, by an exec or by going on: the guest is the same. Who goes
// on does not need the program any more.
func TestALauncherBecomesTheTender(t *testing.T) {
	for how, path := range map[string]string{"goes on": "launcher", "exec": "other"} {
		t.Run(how, func(t *testing.T) {
			launcher := filepath.Join(t.TempDir(), "launcher")
			require.NoError(t, os.Link(tender, launcher))
			program := filepath.Join(filepath.Dir(launcher), path)
			arguments := []string{"spt", "--mem=32", "--", guest("hello"), "--quiet"}
			l := launch(t, launcher, append([]string{"--cpus=0", "--", program}, arguments...)...)
			if how == "exec" {
				require.NoError(t, os.Link(tender, program))
			}
			require.NoError(t, os.Remove(launcher))
			require.Equal(t, "+", l.release(t))
			line, err := bufio.NewReader(l.output).ReadString('\n')
			require.NoError(t, err)
			require.Contains(t, line, "hello from albatross")
			require.Equal(t, strings.Join(append([]string{program}, arguments...), "\x00")+"\x00", readProc(t, l.command, "cmdline"))
			requireDescriptors(t, l.command, "anon_inode:[eventpoll]", "anon_inode:[timerfd]")
			status := readProc(t, l.command, "status")
			require.Contains(t, status, "\nCpus_allowed_list:\t0\n")
			require.Contains(t, status, "\nSeccomp:\t2\n")
		})
	}
}

// TestALauncherThatGoesOnRefusesAsTheTenderDoes: that its gate was open is no success.
func TestALauncherThatGoesOnRefusesAsTheTenderDoes(t *testing.T) {
	l := launch(t, tender, "--cpus=0", "--", tender, "spt", "--mem=32", "--", "/nowhere/image")
	require.Equal(t, "+", l.release(t))
	text, err := io.ReadAll(l.output)
	require.NoError(t, err)
	require.Equal(t, "albatross-tender: cannot run image: image: Could not open: no such file or directory\n", string(text))
	require.Error(t, l.command.Wait())
	require.Equal(t, 1, l.command.ProcessState.ExitCode())
}

// TestOnlySptGoesOn: a tender for hvt has threads, all of which must be in the cgroups, so it
// begins with an exec.
func TestOnlySptGoesOn(t *testing.T) {
	require.NotNil(t, own([]string{tender, "spt", "--", "image"}, nil))
	require.Nil(t, own([]string{tender, "hvt", "--", "image"}, nil))
	require.Nil(t, own([]string{tender}, nil))
}

// A launched is a launcher.
type launched struct {
	command              *exec.Cmd
	gate, status, output *os.File
}

// launch starts a launcher, which is killed at the end of the test.
func launch(t *testing.T, path string, arguments ...string) launched {
	t.Helper()
	return launchAs(t, users()[0], path, arguments...)
}

func launchAs(t *testing.T, u user, path string, arguments ...string) launched {
	t.Helper()
	return launchWith(t, u, nil, path, arguments...)
}

// launchWith passes files on.
func launchWith(t *testing.T, u user, files []*os.File, path string, arguments ...string) launched {
	t.Helper()
	pipe := func() (r, w *os.File) {
		r, w, err := os.Pipe()
		require.NoError(t, err)
		t.Cleanup(func() { _, _ = r.Close(), w.Close() })
		return r, w
	}
	gateEnd, gate := pipe()
	status, statusEnd := pipe()
	output, outputEnd := pipe()
	l := launched{u.command(t, path, append([]string{"launch"}, arguments...)...), gate, status, output}
	l.command.ExtraFiles = append([]*os.File{gateEnd, statusEnd}, files...)
	l.command.Stdout, l.command.Stderr = outputEnd, outputEnd
	require.NoError(t, l.command.Start())
	t.Cleanup(func() {
		_ = l.command.Process.Kill()
		_ = l.command.Wait()
	})
	for _, f := range []*os.File{gateEnd, statusEnd, outputEnd} {
		require.NoError(t, f.Close())
	}
	return l
}

// release opens the gate, and returns the report.
func (l launched) release(t *testing.T) string {
	t.Helper()
	_, err := l.gate.Write([]byte{1})
	require.NoError(t, err)
	report, err := io.ReadAll(l.status)
	require.NoError(t, err)
	return string(report)
}
