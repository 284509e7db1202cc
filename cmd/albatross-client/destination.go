package main

import (
	"context"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"albatross/messages"
	"albatross/sockets/certificate"
	"albatross/sockets/client"
)

// A destination says which daemon to ask, if it is not the one on this machine.
type destination struct {
	address string // of an endpoint, HOST:PORT
	csr     bool   // none: only write a request for a certificate

	ca, caKey, serverCA string // files
	keyType             certificate.KeyType

	made *madeCertificate // to use instead of one made for the command

	large bool // the certificates exceed what every endpoint accepts
}

// A madeCertificate is a certificate with a command.
type madeCertificate struct {
	chain certificate.Chain
	key   crypto.Signer
}

// endpointPort is the default port of endpoints.
const endpointPort = "1025"

func (d *destination) register(flags *pflag.FlagSet) {
	flags.VarP(one("HOST[:PORT]", parseDestination, &d.address), "destination", "d", "ask the daemon behind this endpoint, with a certificate")
	flags.BoolVar(&d.csr, "csr", false, "ask nobody, but write a request for a certificate that says the command")
	flags.StringVar(&d.ca, "ca", "ca.pem", "with --destination: the certificate that signs ours, and those that vouch for it")
	flags.StringVar(&d.caKey, "ca-key", "ca.key", "with --destination: its private key")
	flags.StringVar(&d.serverCA, "server-ca", "cacert.pem", "with --destination: the certificate that vouches for the endpoint and for us")
	d.keyType = certificate.Ed25519
	flags.Var(one("TYPE", parseKeyType, &d.keyType), "key-type", "the kind of private keys that are made: "+keyTypeNames())
}

// given reports whether another daemon than the one on this machine is asked.
func (d *destination) given() bool { return d.csr || d.address != "" }

func (d *daemon) checkDestination() error {
	var given []string
	for _, o := range []struct {
		name string
		set  bool
	}{{"--socket", d.socket != ""}, {"--destination", d.destination.address != ""}, {"--csr", d.destination.csr}} {
		if o.set {
			given = append(given, o.name)
		}
	}
	return exclusive(given)
}

func parseDestination(s string) (string, error) {
	host, port, err := net.SplitHostPort(s)
	if err != nil { // without a port
		host, port = strings.TrimSuffix(strings.TrimPrefix(s, "["), "]"), endpointPort
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 || host == "" {
		return "", fmt.Errorf("invalid value '%s', expected HOST or HOST:PORT", escape(s))
	}
	return net.JoinHostPort(host, port), nil
}

func parseKeyType(s string) (certificate.KeyType, error) {
	for _, kind := range certificate.KeyTypes {
		if string(kind) == s {
			return kind, nil
		}
	}
	return "", fmt.Errorf("invalid value '%s', expected one of %s", escape(s), keyTypeNames())
}

func keyTypeNames() string {
	return joined(certificate.KeyTypes, ", ", func(k certificate.KeyType) string { return string(k) })
}

// connectEndpoint connects to an endpoint for a command: in a session, or else with a certificate
// that contains it.
func (d *daemon) connectEndpoint(ctx context.Context, name messages.Name, command messages.Command) (*client.Conn, error) {
	if d.destination.made != nil {
		return d.connectMade(ctx, d.destination.made)
	}
	if err := mayTravel(name, command); err != nil {
		return nil, err
	}
	properties, _ := messages.PropertiesOf(command)
	return d.connectAfar(ctx, properties.At, name, command)
}

// connectMade connects to an endpoint with a certificate that contains the command.
func (d *daemon) connectMade(ctx context.Context, shown *madeCertificate) (*client.Conn, error) {
	anchors, err := readPEM(d.destination.serverCA, certificate.ParseCertificates)
	if err != nil {
		return nil, err
	}
	if err := leadsTo(shown.chain, anchors); err != nil {
		return nil, &chainError{err}
	}
	d.destination.large = shown.size() > largeSize
	d.out.message(info, "connecting to "+d.destination.address)
	return client.DialTLS(ctx, client.Endpoint{
		Address:   d.destination.address,
		Authority: anchors,
		Shown:     shown.forTLS(),
	})
}

// certify makes a certificate with a command, for immediate use.
func (d *daemon) certify(authority *certificate.Authority, name messages.Name, command messages.Command) (*madeCertificate, error) {
	common, err := commonName(name)
	if err != nil {
		return nil, err
	}
	key, err := d.destination.keyType.Generate()
	if err != nil {
		return nil, err
	}
	request := certificate.Request{Name: common, Command: command, Key: key.Public()}
	chain, err := authority.Issue(request, time.Now(), certificate.OnceLife)
	if err != nil {
		return nil, inputError("cannot make a certificate: " + escape(err.Error()))
	}
	return &madeCertificate{chain, key}, nil
}

// forTLS returns the certificate for package tls.
func (m *madeCertificate) forTLS() tls.Certificate {
	c := tls.Certificate{PrivateKey: m.key, Leaf: m.chain[0]}
	for _, cert := range m.chain {
		c.Certificate = append(c.Certificate, cert.Raw)
	}
	return c
}

// largeSize is the limit for certificates, in bytes, of an endpoint built without support
// for larger ones.
const largeSize = 256 << 10

// size returns the size of all certificates sent.
func (m *madeCertificate) size() (n int) {
	for _, c := range m.chain {
		n += len(c.Raw)
	}
	return n
}

// leadsTo returns why an endpoint that trusts the same authority as we do will not accept
// a chain: then we need not ask it.
func leadsTo(chain certificate.Chain, trusted []*x509.Certificate) error {
	_, err := certificate.Verify(chain, trusted, time.Now(), x509.ExtKeyUsageAny)
	return err
}

// A chainError says that our own certificates do not lead to a trusted authority.
type chainError struct{ err error }

func (c *chainError) Error() string {
	return "TLS validation error of provided certificate chain: " + c.err.Error()
}

const chainAdvice = "The file of --ca, or the certificate that was given, must hold all certificates up to the one in --server-ca,\n" +
	"and all of them must be valid now."

// explainTrust says whose certificate is not accepted, and what to do.
func (d *daemon) explainTrust(e *client.TrustError) (exitCode, string) {
	text := "[ERROR] " + escape(e.Error()) + "\n"
	switch e.Kind {
	case client.UnknownIssuer:
		return exitUntrusted, text + "The certificate in --server-ca must be the one that has signed the endpoint's."
	case client.Unusable:
		return exitUntrusted, text + "Somebody else may be posing as the endpoint. If it is the right one, it needs another certificate, signed by the\n" +
			"authority itself: 'albatross-client generate' makes it."
	case client.OtherHost:
		return exitUntrusted, text + "Somebody else may be posing as the endpoint. If it is the right one, give --destination a name or address that its\n" +
			"certificate is for, or make one for all that it is reached at: 'albatross-client generate' with --server-host for each."
	}
	return exitRejected, text + "The endpoint says no more than that. Is the authority that has signed for us the one that it trusts, and\n" +
		"are the clocks right?" + d.largeAdvice()
}

// largeAdvice is for a failure that the size of our certificate may have caused.
func (d *daemon) largeAdvice() string {
	if !d.destination.large {
		return ""
	}
	return "\nThe certificate has more than 256 KB, which endpoints refuse that were built without support for it.\n" +
		"'create' with --destination sends the image behind the certificate, so that this may be small."
}
