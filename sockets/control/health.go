package control

import (
	"net/netip"

	"albatross/messages"
)

// healthCheck is how the health of a unikernel is checked.
type healthCheck struct {
	Kind   string     `cbor:"1,keyasint"`
	Host   netip.Addr `cbor:"2,keyasint,omitzero"`
	Port   uint16     `cbor:"3,keyasint,omitempty"`
	Target string     `cbor:"4,keyasint,omitempty"`
	Millis int64      `cbor:"5,keyasint"`
}

func fromHealthCheck(check messages.Option[messages.HealthCheck]) *healthCheck {
	if !check.OK {
		return nil
	}
	h := check.Value
	return &healthCheck{Kind: string(h.Kind), Host: h.Host, Port: h.Port, Target: h.Target, Millis: h.Millis}
}

func (h *healthCheck) message() (check messages.Option[messages.HealthCheck], err error) {
	if h == nil {
		return check, nil
	}
	m := messages.HealthCheck{Kind: messages.HealthKind(h.Kind), Host: h.Host.Unmap(), Port: h.Port, Target: h.Target, Millis: h.Millis}
	return messages.Some(m), m.Usable()
}
