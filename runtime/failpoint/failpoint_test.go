package failpoint_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"albatross/runtime/failpoint"
)

// build builds a program with two failpoints.
func build(t *testing.T, flags ...string) (program string) {
	t.Helper()
	program = filepath.Join(t.TempDir(), "walk")
	args := append([]string{"build", "-o", program}, append(flags, "./testdata/walk")...)
	out, err := exec.CommandContext(t.Context(), "go", args...).CombinedOutput()
	require.NoError(t, err, "%s", out)
	return program
}

// walk runs the program with a failpoint to kill it at. It returns what that printed and reached.
func walk(t *testing.T, program, kill string) (printed, reached string, ended *os.ProcessState) {
	t.Helper()
	log := filepath.Join(t.TempDir(), "log")
	c := exec.CommandContext(t.Context(), program)
	c.Env = append(os.Environ(), failpoint.Kill+"="+kill, failpoint.Log+"="+log)
	var out bytes.Buffer
	c.Stdout = &out
	require.NoError(t, c.Start())
	_ = c.Wait() // the state shows how it ended
	names, err := os.ReadFile(log)
	if !os.IsNotExist(err) {
		require.NoError(t, err)
	}
	return out.String(), string(names), c.ProcessState
}

func TestAProgramDiesWhereItIsTold(t *testing.T) {
	program := build(t, "-tags", "failpoints")
	for kill, want := range map[string][2]string{
		"":              {"in\nout\nin\nout\n", "door/opened\ndoor/closed\ndoor/opened\ndoor/closed\n"},
		"door/opened 1": {"", "door/opened\n"},
		"door/closed 1": {"in\n", "door/opened\ndoor/closed\n"},
		"door/closed 2": {"in\nout\nin\n", "door/opened\ndoor/closed\ndoor/opened\ndoor/closed\n"},
		"door/closed 3": {"in\nout\nin\nout\n", "door/opened\ndoor/closed\ndoor/opened\ndoor/closed\n"},
		"door 1":        {"in\nout\nin\nout\n", "door/opened\ndoor/closed\ndoor/opened\ndoor/closed\n"},
	} {
		printed, reached, ended := walk(t, program, kill)
		require.Equal(t, want, [2]string{printed, reached}, kill)
		if lines := bytes.Count([]byte(printed), []byte("\n")); lines == 4 {
			require.True(t, ended.Success(), kill)
		} else {
			require.Equal(t, syscall.SIGKILL, ended.Sys().(syscall.WaitStatus).Signal(), kill)
		}
	}
	for _, kill := range []string{"door/opened", "door/opened 0", "door/opened -1", "door/opened often"} {
		printed, _, ended := walk(t, program, kill)
		require.Empty(t, printed, kill)
		require.Equal(t, 2, ended.ExitCode(), "%s: it panics", kill)
	}
}

// TestNothingIsLeftInAnyOtherProgram, not even a name. For the programs that are installed,
// test/chaos checks that.
func TestNothingIsLeftInAnyOtherProgram(t *testing.T) {
	program := build(t)
	printed, reached, ended := walk(t, program, "door/opened 1")
	require.Equal(t, "in\nout\nin\nout\n", printed)
	require.Empty(t, reached)
	require.True(t, ended.Success())
	code, err := os.ReadFile(program)
	require.NoError(t, err)
	for _, trace := range []string{"door/opened", "door/closed", failpoint.Kill} {
		require.NotContains(t, string(code), trace)
	}
}
