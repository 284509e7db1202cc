package session

import "albatross/messages"

// refusal tells what a client gets to read that has used the wrong socket, or
// that says what only a daemon says or nobody understands.
func refusal(at messages.Endpoint, payload messages.Payload) messages.Public {
	if bad, ok := payload.(messages.BadRequest); ok {
		return bad.Why
	}
	_, initial := payload.(messages.StatsInitial)
	conduct, known := messages.ConductOf(payload)
	switch {
	case known && conduct.At == at:
		return ""
	case at == messages.AtStats && initial: // as natively
		return "unexpected message initial"
	case at == messages.AtStats:
		return "unexpected command"
	}
	return "unknown command"
}
