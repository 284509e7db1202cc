package guest

import (
	"context"
	"net/netip"

	"albatross/messages"
	"albatross/runtime/health"
)

// AskHealth asks a unikernel once whether it does what it is for.
func (m *Machine) AskHealth(ctx context.Context, check messages.HealthCheck, at netip.AddrPort) error {
	return health.Ask(ctx, check, at)
}
