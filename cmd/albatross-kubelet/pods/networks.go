package pods

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"albatross/messages"
)

// NetworksAnnotation says which networks the network devices of an image are on, as devices and
// networks with spaces between them: "service:web management:lan,address=auto". Without it each
// device is on the first network of the node.
const NetworksAnnotation = "albatross/networks"

// autoAddress gives a device its address as arguments of MirageOS; another value is the address to ask
// for. Without it the unikernel asks by DHCP.
const autoAddress = "auto"

// networks returns the network devices of a pod, or the network of all devices that its image declares.
func networks(pod *corev1.Pod, allowed []string) (list []messages.Network, all string, err error) {
	text, given := pod.Annotations[NetworksAnnotation]
	if !given {
		if len(allowed) == 0 {
			return nil, "", nil
		}
		return nil, allowed[0], nil
	}
	for _, word := range strings.Fields(text) {
		n, err := network(word)
		if err == nil && !slices.Contains(allowed, n.OnBridge()) {
			err = fmt.Errorf("the node does not offer the network %s, but %s", n.OnBridge(), orNone(allowed))
		}
		if err == nil && slices.ContainsFunc(list, func(other messages.Network) bool { return other.Name == n.Name }) {
			err = fmt.Errorf("it names the device %s twice", n.Name)
		}
		if err != nil {
			return nil, "", fmt.Errorf("the annotation %s is not possible: %w", NetworksAnnotation, err)
		}
		list = append(list, n)
	}
	return list, "", nil
}

func orNone(list []string) string {
	if len(list) == 0 {
		return "none"
	}
	return strings.Join(list, ", ")
}

// network reads DEVICE:NETWORK[,address=auto|ADDRESS].
func network(word string) (n messages.Network, err error) {
	devices, setting, set := strings.Cut(word, ",")
	device, on, found := strings.Cut(devices, ":")
	if !found || device == "" || on == "" {
		return n, fmt.Errorf("%q is not DEVICE:NETWORK", word)
	}
	n = messages.Network{Name: device, Bridge: messages.Some(on)}
	if !set {
		return n, nil
	}
	address, found := strings.CutPrefix(setting, "address=")
	if !found {
		return n, fmt.Errorf("%q is not address=%s or address=ADDRESS", setting, autoAddress)
	}
	n.Static = true
	if address == autoAddress {
		return n, nil
	}
	ip, err := netip.ParseAddr(address)
	if err != nil {
		return n, fmt.Errorf("%q is no address", address)
	}
	n.IP = messages.Some(ip)
	return n, nil
}

// publications returns the ports of the host that lead to the unikernel: those with a hostPort.
func publications(ports []corev1.ContainerPort) (list []messages.Publication, err error) {
	for _, p := range ports {
		if p.HostPort == 0 {
			continue
		}
		publication, err := publish(p)
		if err != nil {
			return nil, fmt.Errorf("the hostPort %d is not possible: %w", p.HostPort, err)
		}
		list = append(list, publication)
	}
	return list, nil
}

func publish(p corev1.ContainerPort) (publication messages.Publication, err error) {
	const last = 1<<16 - 1
	switch {
	case p.HostPort < 1 || p.HostPort > last || p.ContainerPort < 1 || p.ContainerPort > last:
		return publication, errors.New("ports are from 1 to 65535")
	case p.Protocol == corev1.ProtocolSCTP:
		return publication, errors.New("the protocol must be TCP or UDP")
	}
	publication = messages.Publication{UDP: p.Protocol == corev1.ProtocolUDP, From: uint16(p.HostPort), To: uint16(p.ContainerPort)}
	if p.HostIP != "" {
		host, err := netip.ParseAddr(p.HostIP)
		if err != nil {
			return publication, fmt.Errorf("%q is no address of the host", p.HostIP)
		}
		publication.Host = host.Unmap()
	}
	return publication, nil
}
