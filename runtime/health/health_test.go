package health

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/stretchr/testify/require"

	"albatross/messages"
)

func check(t *testing.T, text string) messages.HealthCheck {
	h, err := messages.ParseHealthCheck(text)
	require.NoError(t, err)
	return h
}

func addressOf(a net.Addr) netip.AddrPort { return netip.MustParseAddrPort(a.String()) }

// closedPort returns an address where nobody listens.
func closedPort(t *testing.T) netip.AddrPort {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, l.Close())
	return addressOf(l.Addr())
}

func TestHTTP(t *testing.T) {
	var asked string
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = r.URL.RequestURI()
		switch r.URL.Path {
		case "/moved":
			http.Redirect(w, r, "/broken", http.StatusFound)
		case "/broken":
			w.WriteHeader(http.StatusInternalServerError)
		case "/large":
			for range 100 {
				w.Header().Add("Padding", strings.Repeat("x", 1000))
			}
		case "/endless":
			_, _ = io.WriteString(w, "begins")
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		}
	}))
	defer s.Close()
	at := addressOf(s.Listener.Addr())
	for target, refusal := range map[string]string{
		"/": "", "/a?b=c": "", "/moved": "", "/endless": "", "/broken": "it answers with status 500", "/large": "its answer cannot be understood",
	} {
		err := Ask(t.Context(), check(t, "http://:80"+target), at)
		require.Equal(t, target, asked)
		if refusal == "" {
			require.NoError(t, err, target)
			continue
		}
		require.ErrorContains(t, err, refusal)
		require.ErrorContains(t, err, fmt.Sprintf("http at %s: ", at))
	}
}

// TestHostileAnswers: none of what a guest sends comes back in an error.
func TestHostileAnswers(t *testing.T) {
	const evil = "\x1b]0;\xff\xfe"
	for answer, refusal := range map[string]string{
		"":                              "it ends the connection without an answer",
		"HTTP/1.1 200":                  "it ends the connection without an answer",
		evil + "\r\n\r\n":               "its answer cannot be understood",
		"HTTP/1.1 " + evil + "\r\n\r\n": "its answer cannot be understood",
		"HTTP/1.1 200 OK\r\n" + evil + "\r\n\r\n":                    "its answer cannot be understood",
		"HTTP/1.1 99999 OK\r\n\r\n":                                  "its answer cannot be understood",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: " + evil + "\r\n\r\n": "its answer cannot be understood",
		"HTTP/1.1 503 " + evil + "\r\n\r\n":                          "it answers with status 503",
	} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		served := make(chan struct{})
		go func() {
			defer close(served)
			c, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = c.Read(make([]byte, 1000))
			_, _ = io.WriteString(c, answer)
			_ = c.Close()
		}()
		err = Ask(t.Context(), check(t, "http://:80/"), addressOf(l.Addr()))
		require.NoError(t, l.Close())
		<-served
		require.EqualError(t, err, fmt.Sprintf("http at %s: %s", l.Addr(), refusal), "%q", answer)
	}
}

func TestNobodyThere(t *testing.T) {
	at := closedPort(t)
	for _, text := range []string{"http://:80/", "tcp://:80"} {
		h := check(t, text)
		require.EqualError(t, Ask(t.Context(), h, at), fmt.Sprintf("%s at %s: connection refused", h.Kind, at))
	}
	require.ErrorContains(t, Ask(t.Context(), check(t, "dns:///name"), at), fmt.Sprintf("dns at %s: ", at))
}

func TestTCP(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	require.NoError(t, Ask(t.Context(), check(t, "tcp://:80"), addressOf(l.Addr())))
}

// TestSilence: what accepts and says nothing costs a bounded time.
func TestSilence(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	require.EqualError(t, Ask(ctx, check(t, "http://:80/"), addressOf(l.Addr())), fmt.Sprintf("http at %s: no answer in time", l.Addr()))
}

func TestDNS(t *testing.T) {
	packets, err := net.ListenPacket("udp", "127.0.0.1:0")
	require.NoError(t, err)
	ready := make(chan struct{})
	server := &dns.Server{PacketConn: packets, NotifyStartedFunc: func() { close(ready) }, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, m *dns.Msg) {
		answer := new(dns.Msg)
		answer.SetReply(m)
		switch q := m.Question[0]; {
		case q.Name != "known.":
			answer.Rcode = dns.RcodeNameError
		case q.Qtype == dns.TypeA:
			answer.Answer = append(answer.Answer, &dns.A{
				Hdr: dns.RR_Header{Name: q.Name, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 1}, A: net.IPv4(10, 0, 0, 1),
			})
		}
		_ = w.WriteMsg(answer)
	})}
	served := make(chan error, 1)
	go func() { served <- server.ActivateAndServe() }()
	<-ready
	defer func() {
		require.NoError(t, server.Shutdown())
		require.NoError(t, <-served)
	}()
	at := addressOf(packets.LocalAddr())
	require.NoError(t, Ask(t.Context(), check(t, "dns://:53/known"), at))
	require.EqualError(t, Ask(t.Context(), check(t, "dns://:53/unknown"), at), fmt.Sprintf("dns at %s: it does not know that name", at))
}
