// Package health asks a unikernel whether it does what it is for. What it answers is of a guest, and
// hostile: it is bounded in size and in time, and nothing of it is kept except a number.
package health

import (
	"context"
	"errors"
	"fmt"
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
		return fmt.Errorf("it answers with status %d", answer.StatusCode)
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

// plain returns the cause of an error, in few words: the address is said already, and a guest may
// have chosen the rest.
func plain(err error) error {
	var number syscall.Errno
	var dns *net.DNSError
	var timeout net.Error
	switch {
	case errors.As(err, &number):
		return number
	case errors.As(err, &dns) && dns.IsNotFound:
		return errors.New("it does not know that name")
	case errors.As(err, &timeout) && timeout.Timeout(), errors.Is(err, context.DeadlineExceeded):
		return errors.New("no answer in time")
	case errors.As(err, &dns):
		return errors.New("it gives no answer")
	}
	return errors.New(firstBytes(err.Error()))
}

// firstBytes returns at most 100 bytes.
func firstBytes(s string) string { return s[:min(len(s), 100)] }
