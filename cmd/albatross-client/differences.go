package main

import (
	"cmp"
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strings"

	"albatross/messages"
)

// differences collects what changes, in words.
type differences []string

// of notes a change of a value.
func (d *differences) of(what string, from, to any) {
	if !reflect.DeepEqual(from, to) {
		*d = append(*d, fmt.Sprintf("%s %v -> %v", what, from, to))
	}
}

// secret notes a change of a value that is not shown.
func (d *differences) secret(what string, from, to any) {
	if !reflect.DeepEqual(from, to) {
		*d = append(*d, what)
	}
}

func (d differences) String() string { return strings.Join(d, ", ") }

// policyDifferences returns how a policy changes.
func policyDifferences(from, to messages.Policy) (d differences) {
	d.of("unikernels", from.Unikernels, to.Unikernels)
	d.of("memory", mb(from.Memory), mb(to.Memory))
	d.of("CPUs", set(from.CPUIDs), set(to.CPUIDs))
	d.of("block devices", mbOrNone(from.Block), mbOrNone(to.Block))
	d.of("bridges", set(from.Bridges), set(to.Bridges))
	return d
}

// networkDifferences returns how a network is another one than what is asked for.
func networkDifferences(from networkEntry, to networkEntry) (d differences) {
	if to.Subnet != "" {
		d.of("subnet", netip.MustParsePrefix(string(from.Subnet)), netip.MustParsePrefix(string(to.Subnet)))
	}
	if to.Gateway != "" {
		d.of("gateway", from.Gateway, to.Gateway)
	}
	if to.IPv6 != "" {
		d.of("IPv6", from.IPv6, to.IPv6)
	}
	if to.MTU != 0 {
		d.of("MTU", from.MTU, to.MTU)
	}
	if to.Backend != "" {
		d.of("backend", from.Backend, to.Backend)
	}
	d.of("NAT", !from.NoNAT, !to.NoNAT)
	return d
}

// argumentDifferences returns how the arguments of a unikernel change. What it is started with may
// be a secret.
func argumentDifferences(name messages.Name, from, to messages.Arguments) (d differences) {
	d.of("memory", mb(from.Memory), mb(to.Memory))
	d.of("CPUs", set(from.CPUIDs), set(to.CPUIDs))
	d.secret("arguments", list(from.Argv.Value), list(to.Argv.Value))
	d.of("the name among the arguments", from.AddName, to.AddName)
	d.of("block devices", devices(from.Blocks), devices(to.Blocks))
	d.of("networks", attachments(name, from.Networks), attachments(name, to.Networks))
	d.of("published ports", publications(from.Publish), publications(to.Publish))
	d.of("health check", healthText(from.Health), healthText(to.Health))
	d.of("fail behaviour", failText(inOrderOfCodes(from.Fail)), failText(inOrderOfCodes(to.Fail)))
	d.of("startup", from.Startup.Or(messages.DefaultStartup), to.Startup.Or(messages.DefaultStartup))
	return d
}

func healthText(check messages.Option[messages.HealthCheck]) string {
	switch h := check.Value; {
	case !check.OK:
		return "none"
	case h.Kind == messages.HealthRuns:
		return h.String()
	default:
		return fmt.Sprintf("%s within %v", h, h.Time())
	}
}

func mb(n int) string { return fmt.Sprintf("%d MB", n) }

func mbOrNone(n messages.Option[int]) string {
	if n.OK {
		return mb(n.Value)
	}
	return "none"
}

// set returns the text of a set.
func set[T cmp.Ordered](values []T) string {
	return textOrNone(slices.Compact(slices.Sorted(slices.Values(values))))
}

// list returns a list that is the same whether it is empty or absent.
func list(values []string) []string { return append([]string{}, values...) }

func textOrNone[T any](values []T) string {
	return listOrNone(values, func(v T) string { return escape(fmt.Sprint(v)) })
}

// devices returns block devices with all that is chosen by default.
func devices(blocks []messages.BlockDevice) string {
	var all []string
	for _, b := range blocks {
		all = append(all, fmt.Sprintf("%s:%s@%d", b.Name, strings.ToLower(b.Device.Or(b.Name)), b.SectorSize.Or(smallestSector)))
	}
	return set(all)
}

// attachments returns networks with all that is chosen by default.
func attachments(name messages.Name, networks []messages.Network) string {
	var all []string
	for _, n := range networks {
		n.MAC, n.Bridge = messages.Some(n.Address(name)), messages.Some(n.OnBridge())
		all = append(all, networkOption(n))
	}
	return set(all)
}

func publications(ports []messages.Publication) string {
	var all []string
	for _, p := range ports {
		all = append(all, p.String())
	}
	return set(all)
}

func inOrderOfCodes(f messages.FailBehaviour) messages.FailBehaviour {
	f.Codes = slices.Sorted(slices.Values(f.Codes))
	if !f.Restart {
		f.Codes = nil
	}
	return f
}
