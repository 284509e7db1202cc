package actors_test

import (
	"context"
	"path"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"albatross/actors/meter"
	"albatross/messages"
)

func (w *world) survey() meter.Survey {
	w.t.Helper()
	s, err := w.actors.Survey(w.t.Context())
	require.NoError(w.t, err)
	return s
}

func TestSurvey(t *testing.T) {
	w := newWorld(t, withBlocks)
	require.Empty(t, w.survey().Status)
	w.succeeds("added block device", "a:d", messages.BlockAdd{Size: 2})
	w.succeeds("created unikernel", "a:x", create(guest("hello")))
	c := guest("disk", "fill")
	c.Blocks = []messages.BlockDevice{{Name: "storage", Device: messages.Some("d")}}
	c.Fail = messages.FailBehaviour{Restart: true} // it ends soon, and is started again
	w.succeeds("created unikernel", "a:y", create(c))
	status := map[messages.Label]messages.Status{}
	for _, s := range w.survey().Status {
		status[s.Name.Label] = s
	}
	require.True(t, status["x"].Running)
	require.WithinDuration(t, time.Now(), status["x"].Started, deadline)
	require.Zero(t, status["x"].Restarts)
	require.False(t, status["x"].End.OK)
	require.Equal(t, 2, status["y"].Blocks[0].Size)
	w.until("it is started again", func() bool { s := w.survey().Status; return s[0].Restarts+s[1].Restarts > 0 })
	w.ask("a:y", messages.UnikernelDestroy{})
	s := w.survey()
	require.Len(t, s.Status, 1)
	require.Len(t, s.Samples, 1)
	require.Equal(t, messages.Name{Path: "a", Label: "x"}, s.Samples[0].Name)
}

// TestWhoeverFailsCostsOneSurvey: that survey fails, nothing waits for it, and the failure is
// counted.
func TestWhoeverFailsCostsOneSurvey(t *testing.T) {
	for kind, message := range map[string]any{
		"host": messages.StatusAsk{}, "stats": messages.StatsSnapshot{}, "surveyor": messages.StatusReport{},
	} {
		t.Run(kind, func(t *testing.T) {
			w := newWorld(t, func(w *world) {
				var failed atomic.Bool
				w.fault = func(actor string, m any) {
					at := strings.HasPrefix(path.Base(actor), kind+"#")
					if at && reflect.TypeOf(m) == reflect.TypeOf(message) && !failed.Swap(true) {
						panic("as asked")
					}
				}
			})
			_, err := w.actors.Survey(t.Context())
			require.Error(t, err)
			w.until("it works again", func() bool {
				_, err := w.actors.Survey(t.Context())
				return err == nil
			})
			require.Equal(t, 1, w.system.Population()[kind].Failures)
		})
	}
}

// TestNobodyAnswersASurvey in time: the survey ends all the same.
func TestNobodyAnswersASurvey(t *testing.T) {
	w := newWorld(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := w.actors.Survey(ctx)
	require.ErrorContains(t, err, "there was no answer in time")
	require.Empty(t, w.survey().Status)
}
