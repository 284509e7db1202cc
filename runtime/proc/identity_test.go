package proc

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"albatross/messages"
)

func TestStartTimeIsFoundBehindAnyProgramName(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		name := rapid.StringOfN(rapid.RuneFrom([]rune("a )(\n\t0é")), 0, 15, -1).Draw(t, "name")
		start := rapid.Uint64().Draw(t, "start")
		stat := "7 (" + name + ") S " + strings.Repeat("1 ", 18) + strconv.FormatUint(start, 10) + " 4096 -1\n"
		got, err := parseStartTime([]byte(stat))
		if err != nil || got != start {
			t.Fatalf("got %d, %v from %q", got, err, stat)
		}
	})
}

func TestStartTimeOfNonsenseIsAnError(t *testing.T) {
	for _, stat := range []string{"", "7", "7 (x)", "7 (x) S 1 2", strings.Repeat("1 ", 40), "7 (x) " + strings.Repeat("x ", 40)} {
		_, err := parseStartTime([]byte(stat))
		require.Error(t, err, "%q", stat)
	}
}

func TestExitOfWhatIsNotReaped(t *testing.T) {
	stat := func(state, start, exit string) string {
		return "7 (x) Z 1) " + state + strings.Repeat(" 0", 18) + " " + start + strings.Repeat(" 0", 29) + " " + exit + "\n"
	}
	for text, exit := range map[string]messages.Exit{
		stat("Z", "5", "0"):    {Known: true},
		stat("Z", "5", "768"):  {Known: true, Code: 3},
		stat("Z", "5", "9"):    {Known: true, Signal: 9},
		stat("Z", "5", "139"):  {Known: true, Signal: 11},
		stat("Z", "6", "768"):  {}, // another process has the pid
		stat("R", "5", "0"):    {},
		stat("Z", "5", "-1"):   {},
		"7 (x) Z 1 2":          {},
		"":                     {},
		stat("Z", "5", "many"): {},
	} {
		got, ok := parseUnreapedExit([]byte(text), 5)
		require.Equal(t, exit.Known, ok, "%q", text)
		if ok {
			require.Equal(t, exit, got, "%q", text)
		}
	}
}

// The kernel's own text for a program with an awkward name.
func TestIdentifyAwkwardProgramName(t *testing.T) {
	program := filepath.Join(t.TempDir(), ") S 1 (x")
	sleep, err := exec.LookPath("sleep")
	require.NoError(t, err)
	require.NoError(t, os.Symlink(sleep, program))
	cmd := exec.Command(program, "1h")
	require.NoError(t, cmd.Start())
	defer func() { _ = cmd.Wait() }()
	defer func() { _ = cmd.Process.Kill() }()

	p, err := Identify(cmd.Process.Pid)
	require.NoError(t, err)
	self, err := Identify(os.Getpid())
	require.NoError(t, err)
	require.GreaterOrEqual(t, p.StartTime, self.StartTime)
	require.Equal(t, self.BootID, p.BootID)
	require.Len(t, p.BootID, 36)
}

func TestWhenAProcessWasStarted(t *testing.T) {
	const tick = 10 * time.Millisecond
	before := time.Now()
	cmd := exec.Command("sleep", "1h")
	require.NoError(t, cmd.Start())
	defer func() { _ = cmd.Wait() }()
	defer func() { _ = cmd.Process.Kill() }()
	after := time.Now()
	p, err := Identify(cmd.Process.Pid)
	require.NoError(t, err)
	started, err := Started(p)
	require.NoError(t, err)
	require.False(t, started.Before(before.Add(-2*tick)), "%v, and not before %v", started, before)
	require.False(t, started.After(after.Add(2*tick)), "%v, and not after %v", started, after)
}

func TestIdentifyNobody(t *testing.T) {
	_, err := Identify(1 << 30)
	require.ErrorIs(t, err, ErrGone)
}
