package session

import "albatross/messages"

// refusal returns the failure for a payload at the wrong socket, for one that only a
// daemon sends, and for one that could not be decoded.
func refusal(at messages.Endpoint, payload messages.Payload) messages.Public {
	if bad, ok := payload.(messages.BadRequest); ok {
		return bad.Why
	}
	_, initial := payload.(messages.StatsInitial)
	properties, known := messages.PropertiesOf(payload)
	switch {
	case known && properties.At == at:
		return ""
	case at == messages.AtStats && initial: // as natively
		return "unexpected message initial"
	case at == messages.AtStats:
		return "unexpected command"
	}
	return "unknown command"
}
