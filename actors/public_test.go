package actors_test

import (
	"fmt"
	"regexp"
	"strings"

	"albatross/messages"
)

// hostPath matches a path of the host, wherever the daemon has its own directories.
var hostPath = regexp.MustCompile(`(^|[^\w.])/(sys|proc|run|var|tmp|usr|dev|etc)\b`)

// checkPublic fails the test if a client would read a path of the host. It skips contents, which
// come from clients: to search megabytes of them takes seconds.
func (w *world) checkPublic(m messages.Wire) {
	switch m.Payload.(type) {
	case messages.DataBlock, messages.SuccessOldBlock, messages.SuccessImage:
		return
	}
	text := fmt.Sprintf("%+v", m.Payload)
	if strings.Contains(text, w.dir) || hostPath.MatchString(text) {
		w.t.Errorf("a client reads a path of the host: %s", text)
	}
}
