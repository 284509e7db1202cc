package e2e

import (
	"fmt"
	"regexp"
	"testing"

	"albatross/messages"
)

// hostPath matches a path of the host, wherever the daemon has its own directories.
var hostPath = regexp.MustCompile(`(^|[^\w.])/(sys|proc|run|var|tmp|usr|dev|etc)\b`)

// requirePublic fails the test if a client reads a path of the host.
func requirePublic(t *testing.T, answer messages.Payload) {
	t.Helper()
	switch answer.(type) {
	case messages.Failure, messages.SuccessText, messages.SuccessEnds, messages.DataEvent:
		if text := fmt.Sprintf("%+v", answer); hostPath.MatchString(text) {
			t.Errorf("a client reads a path of the host: %s", text)
		}
	}
}
