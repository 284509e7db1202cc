package guest

import (
	"context"
	"errors"
	"slices"

	"albatross/messages"
)

// Publish makes the published ports of a unikernel on the machine those of its arguments, instead
// of the former ones. If it does not run, it gets them when it is started. After an error, the
// former ones are published.
func (m *Machine) Publish(ctx context.Context, name messages.Name, args messages.Arguments, former []messages.Publication) error {
	if len(args.Networks) == 0 {
		return errors.New("cannot publish a port: the unikernel has no network device")
	}
	ctx, cancel := context.WithTimeout(ctx, plugTimeout)
	defer cancel()
	bridge, mac := args.Networks[0].OnBridge(), args.Networks[0].Address(name)
	for _, p := range former {
		if !slices.Contains(args.Publish, p) {
			if err := m.Networks.Unpublish(ctx, bridge, mac, p); err != nil {
				return err
			}
		}
	}
	for _, p := range args.Publish {
		if !slices.Contains(former, p) {
			if err := m.Networks.Publish(ctx, bridge, mac, p); err != nil {
				return err
			}
		}
	}
	return nil
}
