package remote

import (
	"errors"
	"fmt"
	"slices"

	"albatross/messages"
)

// firstPort is the first port of the host that is not for administrators only.
const firstPort = 1024

var (
	errSubnet = errors.New("cannot make a network with these options: they are about the network of the host, " +
		"and for its administrators; without them, the daemon chooses a free subnet")
	errHealthHost = errors.New("cannot check the health of a unikernel at another address: that is for administrators of the host; " +
		"without an address, the unikernel itself is asked")
	errPolicyOwner = errors.New("cannot give a policy an owner: policies are for administrators of the host")
	errPort        = fmt.Errorf("cannot publish a port below %d: they are for administrators of the host", firstPort)
)

// permitted returns why a command must not be given in a session. What the daemon counts is left
// to the daemon. But policies do not mention what networks and published ports take from the host:
// a client who has one cannot choose subnets, makes and removes only networks that it may use, and
// publishes ports as an ordinary user of the host does. The host asks nobody but the unikernel for its
// health.
func permitted(r Request, properties messages.Properties) error {
	switch {
	case !properties.Remote && !properties.Session:
		return fmt.Errorf("%s is not possible from afar", properties.Word)
	case properties.Named && r.Name.IsPath():
		return fmt.Errorf("%s needs a name", properties.Word)
	case len(r.Policies) == 0: // an administrator
		return nil
	}
	switch c := r.Command.(type) {
	case messages.NetworkCreate:
		if c.Asked != (messages.NetworkAsk{Backend: c.Asked.Backend, MTU: c.Asked.MTU, Owner: c.Asked.Owner}) {
			return errSubnet
		}
		return mayUse(r)
	case messages.NetworkRemove:
		return mayUse(r)
	case messages.OwnRequest:
		switch c.Kind {
		case messages.KindNetwork:
			return mayUse(r)
		case messages.KindPolicy:
			return errPolicyOwner
		}
	case messages.PublishAdd:
		return publishable(c.Publication)
	case messages.UnikernelDeploy:
		return askable(c.Create.Config.Arguments)
	case messages.RestartDeploy:
		return askable(c.Restart.Args.Value)
	}
	return nil
}

// askable returns why a unikernel must not have arguments.
func askable(args messages.Arguments) error {
	if args.Health.OK && args.Health.Value.Host.IsValid() {
		return errHealthHost
	}
	return publishable(args.Publish...)
}

// mayUse returns why the network of a request is none that its policies allow.
func mayUse(r Request) error {
	bridge, err := messages.BridgeOf(r.Name)
	if err != nil {
		return err
	}
	for _, p := range r.Policies {
		if !slices.Contains(p.Policy.Bridges, bridge) {
			return fmt.Errorf("the policy of %s does not allow the bridge %s", p.Name, bridge)
		}
	}
	return nil
}

func publishable(list ...messages.Publication) error {
	if slices.ContainsFunc(list, func(p messages.Publication) bool { return p.From < firstPort }) {
		return errPort
	}
	return nil
}
