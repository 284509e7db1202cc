package registry

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
)

// A Kind says what kind of trouble there is, for callers that act on it.
type Kind int

// The kinds of trouble.
const (
	Other       Kind = iota
	NotFound         // there is no such repository, tag or digest
	Login            // nobody is logged in, or not as somebody whom the registry knows
	Denied           // the registry refuses it to whoever is logged in
	Busy             // too many requests, or the registry has trouble itself
	Unreachable      // nobody answers
	Plain            // the registry speaks http, and only https is allowed
	Certificate      // nobody vouches for its certificate
	Broken           // the connection broke off, again and again
	Invalid          // what the registry sends is not what was asked for
	Unusable         // there is no unikernel in it that could be used
)

// An Error says why something is not possible, and what to do. Texts of the registry in it are not
// escaped.
type Error struct {
	What string // what could not be done
	Kind Kind
	Err  error
	wait time.Duration // that the registry asks for before the next request
}

func (e *Error) Error() string { return fmt.Sprintf("cannot %s: %v", e.What, e.Err) }
func (e *Error) Unwrap() error { return e.Err }

// because returns an error of a kind.
func because(kind Kind, format string, args ...any) *Error {
	return &Error{Kind: kind, Err: fmt.Errorf(format, args...)}
}

var (
	errSilent    = errors.New("the registry is silent for too long")
	errSlow      = errors.New("the registry takes too long")
	errPlain     = errors.New("only https is allowed")
	errDowngrade = errors.New("it redirects from https to http")
	errInner     = errors.New("it redirects to an address of this machine, or of its own network")
	errRedirects = fmt.Errorf("it redirects more than %d times", maxRedirects)
)

// refusal returns the error for an answer that is not one of the expected ones.
func (s *site) refusal(answer *http.Response) *Error {
	err := transport.CheckError(answer)
	e := s.explain(err)
	if seconds, convErr := strconv.Atoi(answer.Header.Get("Retry-After")); convErr == nil && seconds > 0 {
		e.wait = time.Duration(min(seconds, 3600)) * time.Second
	}
	return e
}

// explain says in our words what an error means.
func (s *site) explain(err error) *Error {
	var ours *Error
	var refused *transport.Error
	var plain tls.RecordHeaderError
	var unknown x509.UnknownAuthorityError
	var invalid x509.CertificateInvalidError
	var hostname x509.HostnameError
	var dns *net.DNSError
	var op *net.OpError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &ours):
		return ours
	case errors.Is(err, context.Canceled):
		return &Error{Kind: Other, Err: err}
	case errors.As(err, &refused):
		return s.explainRefusal(refused)
	case !s.mayBePlain() && (errors.As(err, &plain) || strings.Contains(err.Error(), "server gave HTTP response to HTTPS client")):
		return because(Plain, "the registry speaks http, which everybody on the way can read and change (--insecure allows it)")
	case errors.As(err, &unknown), errors.As(err, &invalid), errors.As(err, &hostname):
		return because(Certificate, "this machine does not trust the registry's certificate: %w (--insecure accepts any)", reason(err))
	case errors.As(err, &op) && op.Op == "dial":
		return because(Unreachable, "nobody answers there: %w", op.Err)
	case isTimeout(err):
		return &Error{Kind: Broken, Err: errSilent}
	case errors.Is(err, errSilent), errors.Is(err, errSlow), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		return &Error{Kind: Broken, Err: reason(err)}
	case errors.Is(err, errDowngrade), errors.Is(err, errInner), errors.Is(err, errRedirects):
		return &Error{Kind: Invalid, Err: reason(err)}
	case errors.As(err, &dns):
		return because(Unreachable, "there is no host %s (%w)", dns.Name, reason(dns))
	case errors.Is(err, errPlain):
		return because(Invalid, "it leads to an address without https")
	}
	return &Error{Kind: Broken, Err: reason(err)}
}

// isTimeout reports whether the registry was silent, at either of two attempts at once.
func isTimeout(err error) bool {
	var timeout net.Error
	return errors.As(err, &timeout) && timeout.Timeout() || strings.Contains(err.Error(), "timeout awaiting response headers")
}

// reason returns the cause of an error without the request.
func reason(err error) error {
	var at *url.Error
	if errors.As(err, &at) {
		err = at.Err
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errors.New("the connection was closed before all of it had come")
	}
	return err
}

// explainRefusal says what the status of an answer means, and its codes, which registries use in
// different ways: some hide what exists from those who may not see it.
func (s *site) explainRefusal(e *transport.Error) *Error {
	code := ""
	if len(e.Errors) > 0 {
		code = string(e.Errors[0].Code)
	}
	switch {
	case e.StatusCode == http.StatusUnauthorized || code == string(transport.UnauthorizedErrorCode):
		return s.wantsLogin(e)
	case e.StatusCode == http.StatusForbidden || code == string(transport.DeniedErrorCode):
		return because(Denied, "the registry refuses it to %s%s", s.whoAsks(), words(e))
	case e.StatusCode == http.StatusTooManyRequests || code == string(transport.TooManyRequestsErrorCode):
		return because(Busy, "the registry has had too many requests: try again later%s%s", s.orLogIn(), words(e))
	case code == string(transport.NameUnknownErrorCode):
		return because(NotFound, "the registry has no such repository")
	case code == string(transport.BlobUnknownErrorCode):
		return because(NotFound, "the registry lacks a part of it: push it again")
	case e.StatusCode == http.StatusMethodNotAllowed || code == string(transport.UnsupportedErrorCode):
		return because(Denied, "the registry does not allow this to anybody: its operator decides that%s", words(e))
	case e.StatusCode == http.StatusNotFound && e.Request != nil && e.Request.URL.Path == pingPath:
		return because(Invalid, "the host is no registry: it does not know %s", pingPath)
	case e.StatusCode == http.StatusNotFound || code == string(transport.ManifestUnknownErrorCode):
		return because(NotFound, "the registry has no such repository, tag or digest")
	case e.StatusCode >= 500:
		return because(Busy, "the registry has trouble: it answers %s%s", status(e.StatusCode), words(e))
	}
	return because(Invalid, "the registry answers %s%s", status(e.StatusCode), words(e))
}

func (s *site) wantsLogin(e *transport.Error) *Error {
	login := fmt.Sprintf("'docker login %s' or 'podman login %[1]s'", s.registry.RegistryStr())
	if s.anonymous {
		return because(Login, "the registry wants to know who asks: log in by %s (it may also hide like this that there is none)%s", login, words(e))
	}
	return because(Login, "the registry does not accept the credentials that are kept for it: log in again by %s%s", login, words(e))
}

func (s *site) whoAsks() string {
	if s.anonymous {
		return fmt.Sprintf("whoever is not logged in: try 'docker login %s' or 'podman login %[1]s'", s.registry.RegistryStr())
	}
	return "whoever is logged in"
}

func (s *site) orLogIn() string {
	if s.anonymous {
		return ", or log in, which may allow more"
	}
	return ""
}

// maxWords bounds what an error repeats of a registry's own words.
const maxWords = 200

// words returns what the registry itself says, if it does.
func words(e *transport.Error) string {
	if len(e.Errors) == 0 || e.Errors[0].Message == "" {
		return ""
	}
	text := strings.ToValidUTF8(e.Errors[0].Message, "?")
	if len(text) > maxWords {
		text = strings.ToValidUTF8(text[:maxWords], "") + "…"
	}
	return fmt.Sprintf(" (it says: %s)", text)
}

func status(code int) string {
	return strings.TrimSpace(strconv.Itoa(code) + " " + http.StatusText(code))
}
