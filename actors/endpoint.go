package actors

import "albatross/messages"

// An Endpoint is one of the sockets of the daemon.
type Endpoint = messages.Endpoint

// The sockets.
const (
	VMMD    = messages.AtVMMD
	Console = messages.AtConsole
	Stats   = messages.AtStats
	Events  = messages.AtEvents
)

// refusal tells what a client gets to read that has used the wrong socket, or
// that says what only a daemon says or nobody understands.
func refusal(at Endpoint, payload messages.Payload) messages.Public {
	if bad, ok := payload.(messages.BadRequest); ok {
		return bad.Why
	}
	_, initial := payload.(messages.StatsInitial)
	conduct, known := messages.ConductOf(payload)
	switch {
	case known && conduct.At == at:
		return ""
	case at == Stats && initial: // as natively
		return "unexpected message initial"
	case at == Stats:
		return "unexpected command"
	}
	return "unknown command"
}
