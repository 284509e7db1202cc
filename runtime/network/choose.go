package network

import (
	"fmt"
	"net/netip"

	"albatross/messages"
	"albatross/runtime/bridge"
	"albatross/runtime/network/wire"
)

// usualMTU is that of Ethernet, in bytes.
const usualMTU = 1500

// Choose completes what a client asks of a network, and refuses what cannot be made on this
// machine. Taken are the subnets of the other networks. The errors are for clients.
func (n *Networks) Choose(name messages.Name, asked messages.NetworkAsk, taken []netip.Prefix) (messages.NetworkSpec, error) {
	spec, err := n.choose(asked, taken)
	if err != nil {
		return spec, fmt.Errorf("cannot make network %s: %w", name, err)
	}
	return spec, n.check(name, spec)
}

func (n *Networks) choose(asked messages.NetworkAsk, taken []netip.Prefix) (spec messages.NetworkSpec, err error) {
	spec = messages.NetworkSpec{MTU: asked.MTU, NAT: !asked.NoNAT}
	if spec.MTU == 0 {
		spec.MTU = usualMTU
	}
	if spec.Backend, err = chooseBackend(asked.Backend); err != nil {
		return spec, err
	}
	subnet := asked.Subnet
	if !subnet.IsValid() {
		if subnet, err = n.kernel.FreeSubnet(taken...); err != nil {
			return spec, err
		}
	}
	if spec.Gateway, err = chooseGateway(subnet, asked.Gateway); err != nil {
		return spec, err
	}
	if !spec.Gateway.Addr().Is4() {
		return spec, fmt.Errorf("%s is no IPv4 subnet (give that of IPv6 with --ipv6)", subnet)
	}
	if asked.Subnet6.IsValid() {
		spec.Gateway6, err = chooseGateway6(asked.Subnet6)
	}
	return spec, err
}

// chooseBackend returns what this machine allows, the kernel first.
func chooseBackend(asked messages.NetworkBackend) (messages.NetworkBackend, error) {
	switch asked {
	case messages.UserNetwork:
		return asked, nil
	case messages.KernelNetwork:
		return asked, bridge.Possible()
	case "":
		if bridge.Possible() != nil {
			return messages.UserNetwork, nil
		}
		return messages.KernelNetwork, nil
	}
	return "", fmt.Errorf("there is no backend %.20q (give kernel or user)", asked)
}

// chooseGateway returns the gateway with the length of its subnet: the first address, unless
// another one is asked for.
func chooseGateway(subnet netip.Prefix, gateway netip.Addr) (netip.Prefix, error) {
	switch {
	case subnet.Masked() != subnet:
		return netip.Prefix{}, fmt.Errorf("%s is an address in a subnet: give the subnet, %s", subnet, subnet.Masked())
	case !gateway.IsValid():
		gateway = subnet.Addr().Next()
	case !subnet.Contains(gateway):
		return netip.Prefix{}, fmt.Errorf("its gateway %s is not in its subnet %s", gateway, subnet)
	}
	return netip.PrefixFrom(gateway, subnet.Bits()), nil
}

// bits6 is the length of an IPv6 subnet in which addresses follow from MAC addresses.
const bits6 = 64

func chooseGateway6(subnet netip.Prefix) (netip.Prefix, error) {
	if !subnet.Addr().Is6() || subnet.Addr().Is4In6() || subnet.Bits() != bits6 {
		return netip.Prefix{}, fmt.Errorf("its IPv6 subnet %s cannot be used: one of 64 bits is needed", subnet)
	}
	return chooseGateway(subnet, netip.Addr{})
}

// check refuses what cannot be made on this machine.
func (n *Networks) check(name messages.Name, spec messages.NetworkSpec) error {
	bridgeName, err := messages.BridgeOf(name)
	if err != nil {
		return err
	}
	config := wire.Config{Backend: spec.Backend, Name: bridgeName, Gateway: spec.Gateway, Gateway6: spec.Gateway6, MTU: spec.MTU, NAT: spec.NAT}
	if err := config.Check(); err != nil {
		return fmt.Errorf("cannot make network %s: %w", name, err)
	}
	if spec.Backend == messages.KernelNetwork {
		return n.kernel.Check(bridge.Network{Name: bridgeName, Gateway: spec.Gateway, Gateway6: spec.Gateway6, MTU: spec.MTU, NAT: spec.NAT})
	}
	return nil
}
