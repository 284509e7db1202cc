package remote

import (
	"cmp"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"sync"
)

// ConnLimits are about connections of verified clients. When all are in use, a tenant
// with fewer than another one gets the oldest of that one's.
type ConnLimits struct {
	Total  int
	Tenant int // of clients below the same certificate of the root
}

// DefaultConns leaves some connections of the daemon to others.
var DefaultConns = ConnLimits{Total: 768, Tenant: 256}

// Tenants are the connections of all verified clients.
type tenants struct {
	limits ConnLimits

	mu        sync.Mutex
	conns     []*tenantConn  // the oldest first
	count     map[string]int // by the key of the tenant
	dismissed int            // how many have yet to read why they end
}

// maxDismissed is how many connections at once may go on for as long as it takes to write
// why they end. Others end at once.
const maxDismissed = 64

// A tenantConn is one connection.
type tenantConn struct {
	chain     []*x509.Certificate
	session   bool // it lasts no longer than the chain
	tenant    string
	end       context.CancelCauseFunc // at once
	dismiss   context.CancelCauseFunc // once the reason has been written
	dismissed bool                    // the reason is being written
}

func newTenants(limits ConnLimits) *tenants {
	return &tenants{limits: limits, count: map[string]int{}}
}

var (
	errFull  = errors.New("the endpoint has no room for another connection: try again later")
	errShare = errors.New("the endpoint has no room for another connection, and another tenant had fewer of them: " +
		"what was asked for here last may still be done; use fewer connections at a time, or try again later")
)

// enter adds a connection, which end and dismiss end.
func (t *tenants) enter(chain []*x509.Certificate, session bool, end, dismiss context.CancelCauseFunc) (*tenantConn, error) {
	entry := &tenantConn{chain: chain, session: session, tenant: tenantOf(chain), end: end, dismiss: dismiss}
	t.mu.Lock()
	defer t.mu.Unlock()
	if entry.tenant != "" && t.count[entry.tenant] >= t.limits.Tenant {
		return nil, fmt.Errorf("%d connections of this tenant are open, which is all that it may have: try again later", t.limits.Tenant)
	}
	if len(t.conns) >= t.limits.Total {
		loses := t.loser(entry.tenant)
		if loses == nil {
			return nil, errFull
		}
		t.remove(loses)
		t.dismiss(loses, errShare)
	}
	t.conns = append(t.conns, entry)
	t.count[entry.tenant]++
	return entry, nil
}

// loser returns the oldest connection of the tenant with most, unless the new one's
// tenant would have as many.
func (t *tenants) loser(comes string) *tenantConn {
	most := slices.MaxFunc(t.conns, func(a, b *tenantConn) int { return cmp.Compare(t.count[a.tenant], t.count[b.tenant]) }).tenant
	if t.count[most] <= t.count[comes]+1 {
		return nil
	}
	return t.conns[slices.IndexFunc(t.conns, func(c *tenantConn) bool { return c.tenant == most })]
}

// invalidate ends a connection because of its certificates. It keeps its place until it has ended.
func (t *tenants) invalidate(conn *tenantConn, cause error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if slices.Contains(t.conns, conn) { // otherwise it has left meanwhile
		t.dismiss(conn, cause)
	}
}

// dismiss ends a connection. It needs mu.
func (t *tenants) dismiss(conn *tenantConn, cause error) {
	switch {
	case conn.dismissed:
	case t.dismissed >= maxDismissed:
		conn.end(cause)
	default:
		t.dismissed++
		conn.dismissed = true
		conn.dismiss(cause)
	}
}

// leave removes a connection, which may have lost its place before.
func (t *tenants) leave(entry *tenantConn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.remove(entry)
	if entry.dismissed {
		t.dismissed--
	}
}

func (t *tenants) remove(entry *tenantConn) {
	i := slices.Index(t.conns, entry)
	if i < 0 {
		return
	}
	t.conns = slices.Delete(t.conns, i, i+1)
	if t.count[entry.tenant]--; t.count[entry.tenant] == 0 {
		delete(t.count, entry.tenant)
	}
}

// all returns the current connections.
func (t *tenants) all() []*tenantConn {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.conns)
}

// tenantOf returns the key of the CA that the root has signed; empty for administrators,
// whose own certificates the root has signed.
func tenantOf(chain []*x509.Certificate) string {
	if len(chain) < 3 {
		return ""
	}
	return string(chain[len(chain)-2].RawSubjectPublicKeyInfo)
}
