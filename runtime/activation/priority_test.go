package activation

import (
	"io"
	"log/slog"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestAttributes: a record has those of its logger, in their order, and no other's.
func TestAttributes(t *testing.T) {
	var out strings.Builder
	base := slog.New(newByPriority(&slog.HandlerOptions{Level: slog.LevelInfo, ReplaceAttr: withoutTime}, func(slog.Level) io.Writer { return &out }))
	actor := base.With("actor", "host")
	first, second := actor.With("n", 1), actor.With("n", 2)
	grouped := first.WithGroup("g").With("x", 3)
	for _, log := range []*slog.Logger{base, actor, first, second, grouped} {
		log.Info("said", "last", true)
		log.Debug("not said")
	}
	require.Equal(t, `level=INFO msg=said last=true
level=INFO msg=said actor=host last=true
level=INFO msg=said actor=host n=1 last=true
level=INFO msg=said actor=host n=2 last=true
level=INFO msg=said actor=host n=1 g.x=3 g.last=true
`, out.String())
}
