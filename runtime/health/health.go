// Package health asks a unikernel whether it does what it is for. What it answers is of a guest, and
// hostile: it is bounded in size and in time, and nothing of it is kept except a number.
package health

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"syscall"
	"time"

	"albatross/messages"
)

// askFor is how long one try takes at most.
const askFor = 5 * time.Second

// maxHeader is how much of an HTTP answer is read, in bytes: its body is not.
const maxHeader = 16 << 10

// Ask asks once at an address. The errors are for clients.
func Ask(ctx context.Context, check messages.HealthCheck, at netip.AddrPort) error {
	ctx, cancel := context.WithTimeout(ctx, askFor)
	defer cancel()
	if err := ask(ctx, check, at); err != nil {
		return fmt.Errorf("%s at %s: %w", check.Kind, at, plain(err))
	}
	return nil
}

func ask(ctx context.Context, check messages.HealthCheck, at netip.AddrPort) error {
	switch check.Kind {
	case messages.HealthHTTP:
		return askHTTP(ctx, check.Target, at)
	case messages.HealthTCP:
		return askTCP(ctx, at)
	case messages.HealthDNS:
		return askDNS(ctx, check.Target, at)
	case messages.HealthRuns: // it is not asked
	}
	return fmt.Errorf("internal error: %q is nothing to ask", check.Kind)
}

func askTCP(ctx context.Context, at netip.AddrPort) error {
	var d net.Dialer
	c, err := d.DialContext(ctx, "tcp", at.String())
	if err != nil {
		return err
	}
	return c.Close()
}

// askHTTP follows no redirection, uses no proxy and reads no body.
func askHTTP(ctx context.Context, target string, at netip.AddrPort) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+at.String()+target, nil)
	if err != nil {
		return err
	}
	request.Header.Set("User-Agent", "albatross")
	transport := &http.Transport{DisableKeepAlives: true, DisableCompression: true, MaxResponseHeaderBytes: maxHeader}
	defer transport.CloseIdleConnections()
	answer, err := transport.RoundTrip(request)
	if err != nil {
		return err
	}
	_ = answer.Body.Close()
	if answer.StatusCode < 200 || answer.StatusCode > 399 {
		return refusal(fmt.Sprintf("it answers with status %d", answer.StatusCode))
	}
	return nil
}

// askDNS asks this server only, and for this name only: a name with a dot at its end is searched
// nowhere else.
func askDNS(ctx context.Context, name string, at netip.AddrPort) error {
	resolver := net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, network, at.String())
	}}
	_, err := resolver.LookupNetIP(ctx, "ip", strings.TrimSuffix(name, ".")+".")
	return err
}

// A refusal is an answer that says, in our words, that something is not healthy.
type refusal string

func (r refusal) Error() string { return string(r) }

// plain returns the cause of an error in our words: what a guest has sent is in none of them, since
// its bytes need not even be text.
func plain(err error) error {
	var number syscall.Errno
	var said refusal
	var dns *net.DNSError
	var timeout net.Error
	switch {
	case errors.As(err, &said):
		return said
	case errors.As(err, &number):
		return number
	case errors.As(err, &dns) && dns.IsNotFound:
		return errors.New("it does not know that name")
	case errors.As(err, &timeout) && timeout.Timeout(), errors.Is(err, context.DeadlineExceeded):
		return errors.New("no answer in time")
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return errors.New("it ends the connection without an answer")
	}
	return errors.New("its answer cannot be understood")
}
