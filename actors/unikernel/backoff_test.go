package unikernel

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"albatross/messages"
	"albatross/test/vectors"
)

// A restartVector is what native albatross does when a unikernel exits.
type restartVector struct {
	ID      string
	Fail    json.RawMessage
	Exit    struct{ Code, Signal, Stop int }
	Results map[string]bool
}

func (r restartVector) fail(t *testing.T) messages.FailBehaviour {
	switch string(r.Fail) {
	case `"quit"`:
		return messages.FailBehaviour{}
	case `"restart"`:
		return messages.FailBehaviour{Restart: true}
	}
	f := messages.FailBehaviour{Restart: true}
	require.NoError(t, json.Unmarshal(r.Fail, &f.Codes))
	return f
}

func TestRestartsWhatNativeRestarts(t *testing.T) {
	for _, v := range vectors.LoadAs[restartVector](t, vectors.Restart) {
		if v.Exit.Stop != 0 {
			continue // a stopped process has not ended: nobody is told of it here
		}
		t.Run(v.ID, func(t *testing.T) {
			exit := messages.Exit{Known: true, Code: v.Exit.Code, Signal: v.Exit.Signal}
			// 2.8 has these be how cmdliner ends, which another start does not change.
			want := v.Results["2.7.2"] && (exit.Code < 123 || exit.Code > 125)
			require.Equal(t, want, restarts(messages.Arguments{Fail: v.fail(t)}, exit))
		})
	}
}

func TestRestartsAfterAnEndThatNobodySaw(t *testing.T) {
	require.False(t, restarts(messages.Arguments{}, messages.Exit{}))
	require.True(t, restarts(messages.Arguments{Fail: messages.FailBehaviour{Restart: true, Codes: []int{7}}}, messages.Exit{}))
}

func TestAQuestionOfUseRestartsNothing(t *testing.T) {
	exits := []messages.Exit{{Known: true}, {Known: true, Code: 63}, {}}
	for _, tc := range []struct {
		argv     []string
		restarts bool
	}{
		{nil, true},
		{[]string{"help", "version", "--helper", "--version=1"}, true},
		{[]string{"--port=80", "--", "--help", "--version"}, true},
		{[]string{"--port=80", "--help"}, false},
		{[]string{"--help=plain"}, false},
		{[]string{"--version", "--", "x"}, false},
	} {
		args := messages.Arguments{Fail: messages.FailBehaviour{Restart: true}, Argv: messages.Some(tc.argv)}
		for _, exit := range exits {
			require.Equal(t, tc.restarts && exit.Code == 0, restarts(args, exit), "%v after %q", exit, tc.argv)
		}
	}
}

func TestRestartsAfterAnEndForWantOfMemory(t *testing.T) {
	exit := messages.Exit{Known: true, Signal: 9, OutOfMemory: true}
	require.False(t, restarts(messages.Arguments{}, exit))
	require.True(t, restarts(messages.Arguments{Fail: messages.FailBehaviour{Restart: true}}, exit))
	require.False(t, restarts(messages.Arguments{Fail: messages.FailBehaviour{Restart: true, Codes: []int{9, 137}}}, exit), "it has no code")
}

// The time of an end is known where it was seen, whether it is known how or not.
func TestTimeOfAnEnd(t *testing.T) {
	now := time.UnixMilli(5)
	for unseen, end := range map[bool]messages.End{false: {AtMillis: 5}, true: {FoundMillis: 5}} {
		u := unikernel{outcome: outcome{unseen: unseen}}
		u.noteEnd(now)
		require.Equal(t, messages.Some(end), u.end)
		require.True(t, now.Equal(end.Known()))
	}
}

func TestBackoff(t *testing.T) {
	var b backoff
	now := time.Unix(0, 0)
	run := func(d time.Duration) time.Duration {
		b.started(now)
		now = now.Add(d)
		return b.ended(now)
	}
	require.Equal(t, 100*time.Millisecond, run(0))
	require.Equal(t, 200*time.Millisecond, run(time.Second))
	require.Equal(t, 400*time.Millisecond, b.ended(now), "a start that fails counts as well")
	for range 10 {
		run(59 * time.Second)
	}
	require.Equal(t, 30*time.Second, run(0))
	require.Equal(t, 100*time.Millisecond, run(time.Minute), "a minute of good health")
}
