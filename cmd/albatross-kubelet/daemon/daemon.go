// Package daemon asks albatrossd: on the same machine at its sockets, where each command has a connection
// of its own, or from afar through its endpoint.
//
//	daemon.go   unikernels and block devices
//	afar.go     a daemon on another machine
//	console.go  what a unikernel prints
//	claim.go    one provider for each daemon
package daemon

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"time"

	"albatross/cmd/albatross-kubelet/provider"
	"albatross/messages"
	"albatross/sockets/client"
	"albatross/sockets/wire"
)

// answerTime bounds a command that changes nothing. Whoever asks is asked again.
const answerTime = 20 * time.Second

// A Daemon is where a daemon is. It is a provider.Host. From afar all names are relative to the path of
// the certificates.
type Daemon struct {
	Dir  string    // its --tmpdir, on this machine
	Afar *Endpoint // or its endpoint; nil: it is on this machine
}

var _ provider.Host = Daemon{}

func (d Daemon) sockets() string { return filepath.Join(d.Dir, "util") }

// dial connects to a socket of the daemon. The caller closes the connection.
func (d Daemon) dial(ctx context.Context, at messages.Endpoint) (*client.Conn, error) {
	if d.Afar != nil {
		return d.Afar.dial(ctx, at)
	}
	return client.Dial(ctx, filepath.Join(d.sockets(), string(at)+".sock"))
}

// at gives a command at a socket.
func at[T any](ctx context.Context, d Daemon, socket messages.Endpoint, do func(context.Context, *client.Conn) (T, error)) (answer T, err error) {
	conn, err := d.dial(ctx, socket)
	if err != nil {
		return answer, err
	}
	defer conn.Close()
	return do(ctx, conn)
}

// List returns all unikernels at and below a path.
func (d Daemon) List(ctx context.Context, path messages.Path) ([]provider.Unikernel, error) {
	return d.unikernels(ctx, messages.Name{Path: path})
}

func (d Daemon) unikernels(ctx context.Context, name messages.Name) (list []provider.Unikernel, err error) {
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	statuses, err := at(ctx, d, messages.AtControl, func(ctx context.Context, c *client.Conn) ([]messages.UnikernelStatus, error) {
		return c.Statuses(ctx, name)
	})
	for _, s := range statuses {
		list = append(list, provider.Unikernel{UnikernelStatus: s, Owner: string(s.Owner)})
	}
	return list, err
}

// Find returns a unikernel.
func (d Daemon) Find(ctx context.Context, name messages.Name) (u provider.Unikernel, known bool, err error) {
	list, err := d.unikernels(ctx, name)
	if err != nil || len(list) == 0 {
		return u, false, err
	}
	return list[0], true, nil
}

// Create creates a unikernel.
func (d Daemon) Create(ctx context.Context, name messages.Name, config messages.Config, owner string) error {
	_, err := at(ctx, d, messages.AtControl, func(ctx context.Context, c *client.Conn) (struct{}, error) {
		return struct{}{}, c.Do(ctx, name, messages.UnikernelDeploy{Create: wire.OldestCreate(config, false), Owner: messages.Owner(owner)})
	})
	return err
}

// notFound is the daemon's answer about a unikernel that there is not.
const notFound = "destroy: not found"

// Destroy destroys a unikernel.
func (d Daemon) Destroy(ctx context.Context, name messages.Name) error {
	_, err := at(ctx, d, messages.AtVMMD, func(ctx context.Context, c *client.Conn) (messages.Success, error) {
		return c.Ask(ctx, name, messages.UnikernelDestroy{})
	})
	if refusal := new(client.Refusal); errors.As(err, &refusal) && refusal.Text == notFound {
		return nil
	}
	return err
}

// Blocks returns the block devices that have an owner.
func (d Daemon) Blocks(ctx context.Context, path messages.Path) ([]provider.Block, error) {
	return d.blocks(ctx, messages.Name{Path: path})
}

func (d Daemon) blocks(ctx context.Context, name messages.Name) (list []provider.Block, err error) {
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	owned, err := at(ctx, d, messages.AtControl, func(ctx context.Context, c *client.Conn) ([]messages.Owned, error) {
		return c.Owners(ctx, name)
	})
	for _, o := range owned {
		if o.Kind == messages.KindBlock {
			list = append(list, provider.Block{Name: o.Name, Owner: string(o.Owner)})
		}
	}
	return list, err
}

// ownerOf returns the owner of a block device; empty: there is none.
func (d Daemon) ownerOf(ctx context.Context, name messages.Name) (string, error) {
	list, err := d.blocks(ctx, name)
	if err != nil || len(list) == 0 {
		return "", err
	}
	return list[0].Owner, nil
}

// MakeBlock makes a block device.
func (d Daemon) MakeBlock(ctx context.Context, name messages.Name, size int, owner string) error {
	has, err := d.ownerOf(ctx, name)
	if err != nil || has == owner {
		return err
	}
	_, err = at(ctx, d, messages.AtControl, func(ctx context.Context, c *client.Conn) (struct{}, error) {
		return struct{}{}, c.Do(ctx, name, messages.BlockDeploy{Size: size, Owner: messages.Owner(owner)})
	})
	return err
}

// RemoveBlock removes a block device.
func (d Daemon) RemoveBlock(ctx context.Context, name messages.Name, owner string) error {
	has, err := d.ownerOf(ctx, name)
	if err != nil || has != owner {
		return err
	}
	_, err = at(ctx, d, messages.AtVMMD, func(ctx context.Context, c *client.Conn) (messages.Success, error) {
		return c.Ask(ctx, name, messages.BlockRemove{})
	})
	return err
}

// Watch follows the events of the daemon.
func (d Daemon) Watch(ctx context.Context, path messages.Path, begun func(), happened func(messages.Event)) error {
	if d.Afar != nil {
		// The events end when the endpoint is started anew, which leaves no session.
		defer d.Afar.sessions.CloseIdle()
	}
	conn, err := d.dial(ctx, messages.AtControl)
	if err != nil {
		return err
	}
	defer conn.Close()
	// With a time, the daemon tells where its past events end: it follows us from then on.
	events, err := conn.Events(ctx, messages.Name{Path: path}, messages.Some(time.Now().UTC()))
	if err != nil {
		return err
	}
	for {
		next, err := events.Next(ctx)
		if err != nil {
			return err
		}
		switch e := next.(type) {
		case messages.DataEvent:
			happened(e.Event)
		case messages.DataMissed, messages.DataPresent:
			begun()
		}
	}
}

// Ping asks the daemon whether it is there.
func (d Daemon) Ping(ctx context.Context) error {
	_, err := d.Policy(ctx, messages.Root)
	return err
}

// Policy returns the policy of a path. That of the root is the machine, unless somebody has set one; from
// afar it is that of the path of the certificates.
func (d Daemon) Policy(ctx context.Context, path messages.Path) (policy messages.Policy, err error) {
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	answer, err := at(ctx, d, messages.AtVMMD, func(ctx context.Context, c *client.Conn) (messages.Success, error) {
		return c.Ask(ctx, messages.Name{Path: path}, messages.PolicyInfo{})
	})
	if err != nil {
		return policy, err
	}
	list, ok := answer.(messages.SuccessPolicies)
	i := slices.IndexFunc(list.List, func(p messages.NamedPolicy) bool { return p.Name.Path == messages.Root })
	if !ok || i < 0 {
		return policy, fmt.Errorf("the daemon has no policy for %s", messages.Name{Path: path})
	}
	return list.List[i].Policy, nil
}

// A Network is a network of the daemon's.
type Network struct {
	Subnet netip.Prefix
	Kernel bool // the kernel of the host carries it, so that the host reaches addresses there
	Routed bool // and so do others, if they have a route
}

// Networks returns the networks of the daemon's, by the names of their bridges: from afar those below the
// path of the certificates.
func (d Daemon) Networks(ctx context.Context) (map[string]Network, error) {
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	list, err := at(ctx, d, messages.AtControl, func(ctx context.Context, c *client.Conn) ([]messages.NetworkStatus, error) {
		return c.Networks(ctx, messages.Name{})
	})
	above := messages.Root
	if err == nil && d.Afar != nil {
		above, err = d.Afar.Path()
	}
	networks := map[string]Network{}
	for _, n := range list {
		if bridge, err := messages.BridgeOf(above.InFull(n.Name)); err == nil {
			kernel := n.Spec.Backend == messages.KernelNetwork
			networks[bridge] = Network{Subnet: n.Spec.Subnet(), Kernel: kernel, Routed: kernel && !n.Spec.NAT}
		}
	}
	return networks, err
}
