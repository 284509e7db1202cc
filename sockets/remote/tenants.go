package remote

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
)

// ConnLimits are about connections of known clients.
type ConnLimits struct {
	Total  int
	Tenant int // whose certificates are below the same one that the root has signed
}

// DefaultConns leaves some connections of the daemon to others.
var DefaultConns = ConnLimits{Total: 768, Tenant: 256}

// Tenants are the connections of all known clients.
type tenants struct {
	limits ConnLimits

	mu    sync.Mutex
	conns map[*tenancy]struct{}
	count map[string]int // by the key of the tenant
}

// A tenancy is one connection.
type tenancy struct {
	chain  []*x509.Certificate
	tenant string
	end    context.CancelCauseFunc
}

func newTenants(limits ConnLimits) *tenants {
	return &tenants{limits: limits, conns: map[*tenancy]struct{}{}, count: map[string]int{}}
}

var errFull = errors.New("the endpoint has no room for another connection: try again later")

// enter takes in a connection, which end ends.
func (t *tenants) enter(chain []*x509.Certificate, end context.CancelCauseFunc) (*tenancy, error) {
	entry := &tenancy{chain: chain, tenant: tenantOf(chain), end: end}
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.conns) >= t.limits.Total {
		return nil, errFull
	}
	if entry.tenant != "" && t.count[entry.tenant] >= t.limits.Tenant {
		return nil, fmt.Errorf("%d connections of this tenant are open, which is all that it may have: try again later", t.limits.Tenant)
	}
	t.conns[entry] = struct{}{}
	t.count[entry.tenant]++
	return entry, nil
}

func (t *tenants) leave(entry *tenancy) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.conns, entry)
	if t.count[entry.tenant]--; t.count[entry.tenant] == 0 {
		delete(t.count, entry.tenant)
	}
}

// all are those that are there now.
func (t *tenants) all() []*tenancy {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Collect(maps.Keys(t.conns))
}

// tenantOf is the key of the CA that the root has signed, and empty for those
// whose own certificate it has signed: they are the administrators.
func tenantOf(chain []*x509.Certificate) string {
	if len(chain) < 3 {
		return ""
	}
	return string(chain[len(chain)-2].RawSubjectPublicKeyInfo)
}
