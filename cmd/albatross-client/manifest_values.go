package main

import (
	"encoding/hex"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"time"

	"go.yaml.in/yaml/v3"

	"albatross/messages"
	"albatross/sockets/registry"
)

// The values in a manifest, in the words of the command line. Errors name the line.
type (
	nameValue        struct{ messages.Name }
	pathValue        string
	sizeValue        int    // MB
	prefixValue      string // a subnet
	addressValue     string
	urlValue         string
	referenceValue   string // of an image in a registry
	digestValue      string // hexadecimal
	blockValue       struct{ messages.BlockDevice }
	attachmentValue  struct{ messages.Network }
	publicationValue struct{ messages.Publication }
	healthValue      struct{ messages.HealthCheck }
	durationValue    time.Duration
	ownerValue       string
)

// parsed returns the value of a scalar.
func parsed[T any](node *yaml.Node, parse func(string) (T, error)) (v T, err error) {
	if node.Kind != yaml.ScalarNode {
		return v, fmt.Errorf("line %d: a single value is expected", node.Line)
	}
	if v, err = parse(node.Value); err != nil {
		err = fmt.Errorf("line %d: %w", node.Line, err)
	}
	return v, err
}

func (n *nameValue) UnmarshalYAML(node *yaml.Node) (err error) {
	n.Name, err = parsed(node, messages.ParseName)
	return err
}

func (n nameValue) MarshalYAML() (any, error) { return shortName(n.Name), nil }

func (p *pathValue) UnmarshalYAML(node *yaml.Node) error {
	path, err := parsed(node, messages.ParsePath)
	*p = pathValue(path)
	return err
}

func (s *sizeValue) UnmarshalYAML(node *yaml.Node) error {
	n, err := parsed(node, megabytes(parseNumber))
	*s = sizeValue(n)
	return err
}

func (s sizeValue) MarshalYAML() (any, error) { return strconv.Itoa(int(s)) + "M", nil }

func (p *prefixValue) UnmarshalYAML(node *yaml.Node) error {
	_, err := parsed(node, netip.ParsePrefix)
	*p = prefixValue(node.Value)
	return err
}

func (a *addressValue) UnmarshalYAML(node *yaml.Node) error {
	_, err := parsed(node, netip.ParseAddr)
	*a = addressValue(node.Value)
	return err
}

func (u *urlValue) UnmarshalYAML(node *yaml.Node) error {
	_, err := parsed(node, parseSource)
	*u = urlValue(node.Value)
	return err
}

func (r *referenceValue) UnmarshalYAML(node *yaml.Node) error {
	reference, err := parsed(node, registry.ParseReference)
	if err == nil {
		*r = referenceValue(reference.String())
	}
	return err
}

func (d *digestValue) UnmarshalYAML(node *yaml.Node) error {
	b, err := parsed(node, hex.DecodeString)
	if err != nil || len(b) != len(messages.Digest{}) {
		return fmt.Errorf("line %d: expected a SHA-256, 64 hexadecimal digits", node.Line)
	}
	*d = digestValue(hex.EncodeToString(b))
	return nil
}

func (b *blockValue) UnmarshalYAML(node *yaml.Node) (err error) {
	b.BlockDevice, err = parsed(node, parseBlock)
	return err
}

func (b blockValue) MarshalYAML() (any, error) { return blockOption(b.BlockDevice), nil }

func (a *attachmentValue) UnmarshalYAML(node *yaml.Node) (err error) {
	a.Network, err = parsed(node, parseNetwork)
	return err
}

func (a attachmentValue) MarshalYAML() (any, error) { return networkOption(a.Network), nil }

func (p *publicationValue) UnmarshalYAML(node *yaml.Node) (err error) {
	p.Publication, err = parsed(node, messages.ParsePublication)
	return err
}

func (p publicationValue) MarshalYAML() (any, error) { return p.String(), nil }

func (h *healthValue) UnmarshalYAML(node *yaml.Node) (err error) {
	h.HealthCheck, err = parsed(node, messages.ParseHealthCheck)
	return err
}

func (h healthValue) MarshalYAML() (any, error) { return h.String(), nil }

func (d *durationValue) UnmarshalYAML(node *yaml.Node) error {
	v, err := parsed(node, time.ParseDuration)
	*d = durationValue(v)
	return err
}

func (d durationValue) MarshalYAML() (any, error) { return time.Duration(d).String(), nil }

func (o *ownerValue) UnmarshalYAML(node *yaml.Node) error {
	owner, err := parsed(node, messages.ParseOwner)
	*o = ownerValue(owner)
	return err
}

// blockOption returns the text that parseBlock reads.
func blockOption(b messages.BlockDevice) string {
	text := b.Name
	if b.Device.OK {
		text += ":" + b.Device.Value
	}
	if b.SectorSize.OK {
		text += "@" + strconv.Itoa(b.SectorSize.Value)
	}
	return text
}

// networkOption returns the text that parseNetwork reads.
func networkOption(n messages.Network) string {
	text := n.Name
	if n.Bridge.OK {
		text += ":" + n.Bridge.Value
	}
	if n.MAC.OK {
		text += "@" + n.MAC.Value.String()
	}
	switch {
	case n.IP.OK:
		text += ",address=" + n.IP.Value.String()
	case n.Static:
		text += ",address=auto"
	}
	if n.Rate != 0 {
		text += ",rate=" + strconv.FormatInt(n.Rate, 10)
	}
	return text
}

// arguments returns those of a unikernel.
func (u unikernelEntry) arguments() messages.Arguments {
	args := defaults()
	args.AddName = !u.NoAddName
	args.Fail = messages.FailBehaviour{Restart: u.Restart, Codes: u.ExitCodes}
	if u.Memory != 0 {
		args.Memory = int(u.Memory)
	}
	if len(u.CPUs) > 0 {
		args.CPUIDs = u.CPUs
	}
	if len(u.Arguments) > 0 {
		args.Argv = messages.Some(u.Arguments)
	}
	if u.Startup != nil {
		args.Startup = messages.Some(*u.Startup)
	}
	for _, b := range u.Blocks {
		args.Blocks = append(args.Blocks, b.BlockDevice)
	}
	for _, n := range u.Networks {
		args.Networks = append(args.Networks, n.Network)
	}
	for _, p := range u.Publish {
		args.Publish = append(args.Publish, p.Publication)
	}
	if u.Health != nil {
		args.Health = messages.Some(u.Health.HealthCheck)
		if u.HealthIn != 0 {
			args.Health.Value = args.Health.Value.Lasting(time.Duration(u.HealthIn))
		}
	}
	return args
}

// unikernelOf returns the entry for a unikernel.
func unikernelOf(name messages.Name, args messages.Arguments, image source) unikernelEntry {
	u := unikernelEntry{
		Name: nameValue{name}, Image: image, Memory: sizeValue(args.Memory), CPUs: args.CPUIDs, Arguments: args.Argv.Value,
		NoAddName: !args.AddName, Restart: args.Fail.Restart, ExitCodes: args.Fail.Codes,
	}
	if args.Startup.OK {
		u.Startup = &args.Startup.Value
	}
	for _, b := range args.Blocks {
		u.Blocks = append(u.Blocks, blockValue{b})
	}
	for _, n := range args.Networks {
		n.Leases = nil
		u.Networks = append(u.Networks, attachmentValue{n})
	}
	for _, p := range args.Publish {
		u.Publish = append(u.Publish, publicationValue{p})
	}
	if check := args.Health; check.OK {
		u.Health = &healthValue{check.Value}
		if t := check.Value.Time(); check.Value.Kind != messages.HealthRuns && t != messages.DefaultHealthTime {
			u.HealthIn = durationValue(t)
		}
	}
	return u
}

// policy returns the policy of an entry.
func (p policyEntry) policy() messages.Policy {
	policy := messages.Policy{Unikernels: p.Unikernels, Memory: int(p.Memory), CPUIDs: slices.Sorted(slices.Values(p.CPUs)), Bridges: slices.Sorted(slices.Values(p.Bridges))}
	if len(policy.CPUIDs) == 0 {
		policy.CPUIDs = []int{0}
	}
	if p.Block != nil {
		policy.Block = messages.Some(int(*p.Block))
	}
	return policy
}

// policyOf returns the entry for a policy.
func policyOf(n messages.NamedPolicy) policyEntry {
	p := policyEntry{
		Path: pathValue(n.Name.Path), Unikernels: n.Policy.Unikernels, Memory: sizeValue(n.Policy.Memory),
		CPUs: n.Policy.CPUIDs, Bridges: n.Policy.Bridges,
	}
	if n.Policy.Block.OK {
		size := sizeValue(n.Policy.Block.Value)
		p.Block = &size
	}
	return p
}

// ask returns what is asked of the daemon for a network, whose values were checked.
func (n networkEntry) ask() (asked messages.NetworkAsk, err error) {
	asked = messages.NetworkAsk{MTU: n.MTU, NoNAT: n.NoNAT}
	if n.Subnet != "" {
		asked.Subnet = netip.MustParsePrefix(string(n.Subnet))
	}
	if n.Gateway != "" {
		asked.Gateway = netip.MustParseAddr(string(n.Gateway))
	}
	if n.IPv6 != "" {
		asked.Subnet6 = netip.MustParsePrefix(string(n.IPv6))
	}
	if n.Backend != "" {
		asked.Backend, err = parseBackend(n.Backend)
	}
	return asked, err
}

// networkOf returns the entry for a network.
func networkOf(n messages.NetworkStatus) networkEntry {
	e := networkEntry{
		Name: nameValue{n.Name}, Subnet: prefixValue(n.Spec.Subnet().String()), Gateway: addressValue(n.Spec.Gateway.Addr().String()),
		MTU: n.Spec.MTU, NoNAT: !n.Spec.NAT, Backend: string(n.Spec.Backend),
	}
	if n.Spec.Gateway6.IsValid() {
		e.IPv6 = prefixValue(n.Spec.Gateway6.Masked().String())
	}
	return e
}
