package messages

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"strings"
	"time"
)

// A HealthCheck is how the daemon finds out, after each start of a unikernel, whether that does
// what it is for. One that has replaced another is on trial until then.
type HealthCheck struct {
	Kind HealthKind `cbor:"1,keyasint"`
	// Host and Port are where it is asked. Without a host, that is the port of the unikernel,
	// wherever it can be reached from the host.
	Host netip.Addr `cbor:"2,keyasint,omitzero"`
	Port uint16     `cbor:"3,keyasint,omitempty"`
	// Target is what is asked for: with HTTP a path and a query, which begins with '/', and with
	// DNS a name.
	Target string `cbor:"4,keyasint,omitempty"`
	// Millis is how long it may take from the start on until the check succeeds, and with
	// HealthRuns how long it is to run.
	Millis int64 `cbor:"5,keyasint"`
}

// A HealthKind is the kind of a check, in the word that is stored, sent and written.
type HealthKind string

// The kinds of checks.
const (
	HealthHTTP HealthKind = "http"      // it answers with a status from 200 to 399
	HealthTCP  HealthKind = "tcp"       // it accepts a connection
	HealthDNS  HealthKind = "dns"       // it knows an address of a name
	HealthRuns HealthKind = "exit-free" // it runs for so long
)

// The limits of a check. MaxHealthTarget is in bytes: a DNS name is no longer.
const (
	DefaultHealthTime = 30 * time.Second
	MinHealthTime     = 100 * time.Millisecond
	MaxHealthTime     = time.Hour
	MaxHealthTarget   = 253
)

// Time returns how long it may take.
func (h HealthCheck) Time() time.Duration { return time.Duration(h.Millis) * time.Millisecond }

// Lasting returns the same check, which may take so long.
func (h HealthCheck) Lasting(d time.Duration) HealthCheck {
	h.Millis = d.Milliseconds()
	return h
}

// String returns the text form that ParseHealthCheck reads. It lacks the time of checks that ask
// something.
func (h HealthCheck) String() string {
	if h.Kind == HealthRuns {
		return fmt.Sprintf("%s=%v", h.Kind, h.Time())
	}
	host := ""
	switch {
	case h.Host.Is6():
		host = "[" + h.Host.String() + "]"
	case h.Host.IsValid():
		host = h.Host.String()
	}
	target := h.Target
	if h.Kind == HealthDNS {
		target = "/" + target
	}
	return fmt.Sprintf("%s://%s:%d%s", h.Kind, host, h.Port, target)
}

// Usable returns why nothing can be checked that way. The text is for clients.
func (h HealthCheck) Usable() error {
	if err := h.usable(); err != nil {
		return fmt.Errorf("cannot check the health of a unikernel: %w", err)
	}
	return nil
}

func (h HealthCheck) usable() error {
	switch {
	case h.Millis < MinHealthTime.Milliseconds() || h.Millis > MaxHealthTime.Milliseconds():
		return fmt.Errorf("a check takes from %v to %v", MinHealthTime, MaxHealthTime)
	case h.Host.Zone() != "":
		return errors.New("its address has a zone")
	case len(h.Target) > MaxHealthTarget:
		return fmt.Errorf("what it asks for has %d bytes: at most %d are possible", len(h.Target), MaxHealthTarget)
	case strings.ContainsFunc(h.Target, func(r rune) bool { return r <= ' ' || r > '~' }):
		return errors.New("what it asks for has other characters than visible ones of ASCII")
	case h.Kind != HealthRuns && h.Port == 0:
		return errors.New("a port from 1 to 65535 is needed")
	}
	switch h.Kind {
	case HealthHTTP:
		if !strings.HasPrefix(h.Target, "/") {
			return errors.New("a path begins with '/'")
		}
	case HealthDNS:
		if strings.Trim(h.Target, ".") == "" || strings.Contains(h.Target, "/") {
			return errors.New("a name to ask for is needed, as in dns://:53/NAME")
		}
	case HealthTCP, HealthRuns:
		if h.Target != "" {
			return fmt.Errorf("%s has nothing to ask for", h.Kind)
		}
	default:
		return fmt.Errorf("there is no check %.20q, but http, tcp, dns and exit-free", string(h.Kind))
	}
	return nil
}

// ParseHealthCheck reads http://[ADDRESS]:PORT[/PATH], tcp://[ADDRESS]:PORT,
// dns://[ADDRESS][:PORT]/NAME or exit-free=DURATION. Checks that ask something take
// DefaultHealthTime at most. The error is for clients.
func ParseHealthCheck(s string) (HealthCheck, error) {
	h, err := parseHealthCheck(s)
	if err == nil {
		err = h.usable()
	}
	if err != nil {
		return HealthCheck{}, fmt.Errorf("cannot check the health by %q: %w (give http://:PORT/PATH, tcp://:PORT, dns://:PORT/NAME or exit-free=10s)", begin(s), err)
	}
	return h, nil
}

func parseHealthCheck(s string) (h HealthCheck, err error) {
	if d, runs := strings.CutPrefix(s, string(HealthRuns)+"="); runs {
		duration, err := time.ParseDuration(d)
		if err != nil {
			return h, fmt.Errorf("%q is no duration, such as 10s", begin(d))
		}
		return HealthCheck{Kind: HealthRuns}.Lasting(duration), nil
	}
	u, err := url.Parse(s)
	if err != nil {
		return h, errors.New("it is no address")
	}
	h = HealthCheck{Kind: HealthKind(u.Scheme), Target: u.RequestURI()}.Lasting(DefaultHealthTime)
	if u.User != nil || u.Fragment != "" || u.Opaque != "" {
		return h, errors.New("it has a user or a fragment, which cannot be asked for")
	}
	port := map[HealthKind]string{HealthHTTP: "80", HealthDNS: "53"}[h.Kind]
	if u.Port() != "" {
		port = u.Port()
	}
	switch h.Kind {
	case HealthDNS:
		h.Target = strings.TrimPrefix(h.Target, "/")
	case HealthTCP:
		h.Target = strings.TrimPrefix(h.Target, "/")
	}
	if u.Hostname() != "" {
		if h.Host, err = netip.ParseAddr(u.Hostname()); err != nil {
			return h, fmt.Errorf("%q is no IP address", begin(u.Hostname()))
		}
		h.Host = h.Host.Unmap()
	}
	if port != "" {
		h.Port, err = parsePort(port)
	}
	return h, err
}

// Address returns where a unikernel with such arguments is asked: at the given address, else at the port
// of the host that leads to its port, else at the address of its first device on a named network.
// Only for that, leased is true.
func (h HealthCheck) Address(args Arguments) (at netip.AddrPort, leased bool, err error) {
	if h.Host.IsValid() {
		return netip.AddrPortFrom(h.Host, h.Port), false, nil
	}
	for _, p := range args.Publish {
		switch {
		case p.To != h.Port || p.UDP != (h.Kind == HealthDNS):
		case !p.Host.IsValid() || p.Host.IsUnspecified():
			return netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), p.From), false, nil
		default:
			return netip.AddrPortFrom(p.Host, p.From), false, nil
		}
	}
	if len(args.Networks) > 0 && len(args.Networks[0].Leases) > 0 {
		return netip.AddrPortFrom(args.Networks[0].Leases[0], h.Port), true, nil
	}
	return netip.AddrPort{}, false, h.Unreachable()
}

// Unreachable returns why the host cannot ask a unikernel that has no address which it reaches. The
// text is for clients.
func (h HealthCheck) Unreachable() error {
	return fmt.Errorf("cannot check the health of a unikernel: its port %d is not reached from the host: publish that, or give the address of the unikernel", h.Port)
}

// A Health is what is known about a run of a unikernel that has a HealthCheck.
type Health struct {
	State HealthState // empty: it has no check, or does not run
	Cause Public      // why it is unhealthy
}

// NewHealth returns a Health. It truncates a long cause, and makes it text.
func NewHealth(state HealthState, cause Public) Health {
	return Health{State: state, Cause: cutCause(cause)}
}

// A HealthState is the state of a health, in the word that is sent and shown.
type HealthState string

// The states of a health.
const (
	HealthChecking HealthState = "checking"  // it has still time
	Healthy        HealthState = "healthy"   // the check has succeeded once
	Unhealthy      HealthState = "unhealthy" // the time is over; the check goes on
)
