package certificate

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"
)

// oidAltName identifies the extension with the hosts of a server.
var oidAltName = asn1.ObjectIdentifier{2, 5, 29, 17}

// hostName matches the name of a host: labels of at most 63 characters, separated by
// dots.
var hostName = regexp.MustCompile(`^[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?)*$`)

// maxHostName is the longest name of a host (RFC 1035).
const maxHostName = 253

// ParseHost parses the name or address of a host, and returns its canonical form.
func ParseHost(s string) (string, error) {
	if address, err := netip.ParseAddr(s); err == nil && address.Zone() == "" {
		return address.Unmap().String(), nil
	}
	name := strings.ToLower(strings.TrimSuffix(s, "."))
	last := name[strings.LastIndexByte(name, '.')+1:]
	if len(name) > maxHostName || !hostName.MatchString(name) || strings.Trim(last, "0123456789") == "" {
		return "", fmt.Errorf("%q is neither the name nor the address of a host", s)
	}
	return name, nil
}

// addHosts writes the hosts of a server into its certificate.
func addHosts(t *x509.Certificate, hosts []string) error {
	for _, s := range hosts {
		host, err := ParseHost(s)
		if err != nil {
			return err
		}
		if address, err := netip.ParseAddr(host); err == nil {
			t.IPAddresses = append(t.IPAddresses, address.AsSlice())
		} else {
			t.DNSNames = append(t.DNSNames, host)
		}
	}
	return nil
}

// Hosts returns the names and addresses of a server in its certificate.
func Hosts(cert *x509.Certificate) []string {
	hosts := slices.Clone(cert.DNSNames)
	for _, address := range cert.IPAddresses {
		hosts = append(hosts, address.String())
	}
	return hosts
}

// A HostError says that a certificate is for other hosts than the requested one.
type HostError struct {
	Host  string
	Hosts []string // of the certificate
}

// maxShown is how many hosts an error names.
const maxShown = 8

func (h *HostError) Error() string {
	list := strings.Join(h.Hosts[:min(len(h.Hosts), maxShown)], ", ")
	switch more := len(h.Hosts) - maxShown; {
	case len(h.Hosts) == 0:
		list = "no host at all"
	case more > 0:
		list = fmt.Sprintf("%s and %d more", list, more)
	}
	return fmt.Sprintf("it is for %s, and not for %s", list, h.Host)
}

// CheckHost refuses a certificate for other hosts than the requested name or address. A
// certificate without hosts, as native ones are, is accepted for any.
func CheckHost(cert *x509.Certificate, host string) error {
	hasHosts := slices.ContainsFunc(cert.Extensions, func(e pkix.Extension) bool { return e.Id.Equal(oidAltName) })
	if !hasHosts {
		return nil
	}
	asked, _, _ := strings.Cut(host, "%") // a zone is local to this machine
	if cert.VerifyHostname(asked) != nil {
		return &HostError{Host: host, Hosts: Hosts(cert)}
	}
	return nil
}
