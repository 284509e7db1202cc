package influx

import (
	"errors"
	"net"
	"net/netip"
	"strings"
)

// Port is the default port of Telegraf.
const Port = "8094"

// Address parses HOST[:PORT]. An IPv6 address needs brackets only before a port.
func Address(s string) (string, error) {
	bare := s
	if strings.HasPrefix(s, "[") && strings.HasSuffix(s, "]") {
		bare = s[1 : len(s)-1]
	}
	if a, err := netip.ParseAddr(bare); err == nil {
		return net.JoinHostPort(a.String(), Port), nil
	}
	if s != "" && !strings.Contains(s, ":") {
		return net.JoinHostPort(s, Port), nil
	}
	host, port, err := net.SplitHostPort(s)
	if err == nil && (host == "" || port == "") {
		err = errors.New("neither host nor port may be empty")
	}
	if err != nil {
		return "", err
	}
	return net.JoinHostPort(host, port), nil
}
