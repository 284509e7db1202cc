package remote

import (
	"crypto"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"math/big"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"albatross/messages"
	"albatross/sockets/certificate"
	"albatross/sockets/wire"
	"albatross/test/guests"
	"albatross/test/hostile"
)

// A signed is a certificate with those above it up to the root. It may be one that no library
// reads.
type signed struct {
	cert  *x509.Certificate // before it was made unreadable
	der   []byte
	key   crypto.Signer
	above *signed
}

// A change makes a certificate differ from the usual ones.
type change func(*x509.Certificate)

func (w *world) signedRoot() *signed {
	return &signed{cert: w.root.Chain[0], der: w.root.Chain[0].Raw, key: w.rootKey}
}

// sign makes a certificate that by signs; nil for one that signs itself.
func (w *world) sign(by *signed, name string, changes ...change) *signed {
	w.t.Helper()
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	require.NoError(w.t, err)
	s := &signed{above: by, key: newKey(w.t), cert: &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: name}, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}}
	for _, change := range changes {
		change(s.cert)
	}
	if by == nil {
		by = s
	}
	s.der, err = x509.CreateCertificate(rand.Reader, s.cert, by.cert, s.key.Public(), by.key)
	require.NoError(w.t, err)
	return s
}

// presented returns what a client sends, with a key of its choice.
func (s *signed) presented(key crypto.Signer) tls.Certificate {
	own := tls.Certificate{PrivateKey: key}
	for ; s != nil && s.above != nil; s = s.above {
		own.Certificate = append(own.Certificate, s.der)
	}
	return own
}

func isCA(c *x509.Certificate) { c.IsCA, c.KeyUsage = true, x509.KeyUsageCertSign }

func carries(t testing.TB, command messages.Command) change {
	e, err := certificate.Extension(command)
	require.NoError(t, err)
	return carriesRaw(e.Value)
}

func carriesRaw(value []byte) change {
	return func(c *x509.Certificate) {
		c.ExtraExtensions = append(c.ExtraExtensions, pkix.Extension{Id: certificate.OID, Value: value})
	}
}

func valid(from, to time.Duration) change {
	return func(c *x509.Certificate) { c.NotBefore, c.NotAfter = time.Now().Add(from), time.Now().Add(to) }
}

func critical(c *x509.Certificate) {
	for i := range c.ExtraExtensions {
		c.ExtraExtensions[i].Critical = true
	}
}

func named(names ...string) change {
	return func(c *x509.Certificate) {
		for _, name := range names {
			c.Subject.ExtraNames = append(c.Subject.ExtraNames, pkix.AttributeTypeAndValue{
				Type: asn1.ObjectIdentifier{2, 5, 4, 3}, Value: name,
			})
		}
	}
}

// A forger is a tenant who wants more than its certificate allows, by a command that it may give.
type forger struct {
	*world
	tenant *signed // below the root, or below other tenants
	policy change  // adds the policy of all of these
	leaf   change  // adds the command
	name   string  // what the command is about
}

// below returns a tenant of a tenant.
func (f *forger) below(by *signed, name string, changes ...change) *signed {
	return f.sign(by, name, append([]change{isCA, f.policy}, changes...)...)
}

// asks returns a client with the command.
func (f *forger) asks(by *signed, changes ...change) *signed {
	return f.sign(by, f.name, append([]change{f.leaf}, changes...)...)
}

// again returns a copy of the certificates of the tenant, and of those above it, with new keys and
// below a root.
func (f *forger) again(root *signed, changes ...change) *signed {
	var copied func(*signed) *signed
	copied = func(s *signed) *signed {
		if s.above == nil {
			return root
		}
		return f.below(copied(s.above), s.cert.Subject.CommonName, changes...)
	}
	return copied(f.tenant)
}

// A forgery is a chain that the endpoint must refuse, and the text of the refusal: an alert if it
// ends the handshake.
type forgery struct {
	title string
	chain func(f *forger) tls.Certificate
	want  string
}

// one returns a forgery whose client uses the key that belongs to it.
func one(title, want string, chain func(f *forger) *signed) forgery {
	return forgery{title, func(f *forger) tls.Certificate {
		s := chain(f)
		return s.presented(s.key)
	}, want}
}

const (
	alert      = "remote error: tls: "
	badLabel   = "invalid label"
	unreadable = "cannot read the command in the certificate"
)

// forgeries are all kinds.
var forgeries = []forgery{
	{"the key of another", func(f *forger) tls.Certificate { return f.asks(f.tenant).presented(newKey(f.t)) }, alert},
	{"nobody above", func(f *forger) tls.Certificate {
		s := f.asks(f.tenant)
		return tls.Certificate{Certificate: [][]byte{s.der}, PrivateKey: s.key}
	}, alert},
	{"somebody else of that name above", func(f *forger) tls.Certificate {
		s := f.asks(f.tenant)
		own := s.presented(s.key)
		own.Certificate[1] = f.below(f.tenant.above, f.tenant.cert.Subject.CommonName).der
		return own
	}, alert},
	{"the order of names turned around", func(f *forger) tls.Certificate {
		s := f.asks(f.tenant)
		own := s.presented(s.key)
		own.Certificate[0], own.Certificate[1] = own.Certificate[1], own.Certificate[0]
		return own
	}, alert},
	{"a changed signature", func(f *forger) tls.Certificate {
		s := f.asks(f.tenant)
		s.der[len(s.der)-1] ^= 1
		return s.presented(s.key)
	}, alert},
	{"a changed signature above", func(f *forger) tls.Certificate {
		above := f.below(f.tenant, "mallory")
		above.der[len(above.der)-1] ^= 1
		s := f.asks(above)
		return s.presented(s.key)
	}, alert},
	{"a changed name", func(f *forger) tls.Certificate {
		s := f.sign(f.tenant, "mallorys", f.leaf)
		s.der = []byte(strings.Replace(string(s.der), "mallorys", f.name+"mallorys"[len(f.name):], 1))
		return s.presented(s.key)
	}, alert},
	one("another root", alert, func(f *forger) *signed { return f.asks(f.again(f.sign(nil, "stranger", isCA))) }),
	one("another root of the same name", alert, func(f *forger) *signed { return f.asks(f.again(f.sign(nil, "root", isCA))) }),
	one("the command in another root", alert, func(f *forger) *signed {
		return f.asks(f.again(f.sign(nil, "root", isCA, f.policy)))
	}),
	one("expired", alert, func(f *forger) *signed { return f.asks(f.tenant, valid(-2*time.Hour, -time.Hour)) }),
	one("not yet valid", alert, func(f *forger) *signed { return f.asks(f.tenant, valid(time.Hour, 2*time.Hour)) }),
	one("expired above", alert, func(f *forger) *signed {
		return f.asks(f.again(f.signedRoot(), valid(-2*time.Hour, -time.Hour)))
	}),
	one("no CA above", alert, func(f *forger) *signed { return f.asks(f.sign(f.tenant, "mallory", f.policy)) }),
	one("a CA that may not sign above", alert, func(f *forger) *signed {
		return f.asks(f.below(f.tenant, "mallory", func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageDigitalSignature }))
	}),
	one("below a client", alert, func(f *forger) *signed { return f.asks(f.asks(f.tenant)) }),
	one("a longer path than is allowed", alert, func(f *forger) *signed {
		last := f.below(f.tenant, "mallory", func(c *x509.Certificate) { c.MaxPathLenZero = true })
		return f.asks(f.below(last, "mallory"))
	}),
	one("a CA itself", alert, func(f *forger) *signed { return f.asks(f.tenant, isCA) }),
	one("the command twice", alert, func(f *forger) *signed { return f.asks(f.tenant, f.leaf) }),
	one("a policy twice", alert, func(f *forger) *signed { return f.asks(f.below(f.tenant, "mallory", f.policy)) }),
	one("a critical command", alert, func(f *forger) *signed { return f.asks(f.tenant, critical) }),
	one("too many certificates", alert, func(f *forger) *signed {
		by := f.tenant
		for range 16 {
			by = f.below(by, "m")
		}
		return f.asks(by)
	}),
	one("too long a chain", "at most", func(f *forger) *signed {
		by := f.tenant
		for range certificate.MaxChain {
			by = f.below(by, "m")
		}
		return f.asks(by)
	}),
	one("a policy that is larger than the one above", "cannot set the policy of", func(f *forger) *signed {
		larger := alices
		larger.Memory++
		return f.asks(f.sign(f.tenant, "mallory", isCA, carries(f.t, messages.PolicyAdd{Policy: larger})))
	}),
	one("a command where a policy should be", "another command than a policy", func(f *forger) *signed {
		return f.asks(f.sign(f.tenant, "mallory", isCA, f.leaf))
	}),
	one("no command", "has no command", func(f *forger) *signed { return f.sign(f.tenant, f.name) }),
	one("half a command", unreadable, func(f *forger) *signed {
		return f.asks(f.tenant, func(c *x509.Certificate) {
			e := &c.ExtraExtensions[0]
			e.Value = e.Value[:len(e.Value)/2]
		})
	}),
	one("more than a command", unreadable, func(f *forger) *signed {
		return f.asks(f.tenant, func(c *x509.Certificate) {
			e := &c.ExtraExtensions[0]
			e.Value = append(e.Value[:len(e.Value):len(e.Value)], 5, 0)
		})
	}),
	one("garbage as a policy", unreadable, func(f *forger) *signed {
		return f.asks(f.sign(f.tenant, "mallory", isCA, carriesRaw([]byte{0x30, 0x80, 1, 2})))
	}),
	one("several names", "several common names", func(f *forger) *signed { return f.asks(f.tenant, named(f.name, "other")) }),
	one("a name that is a path", badLabel, func(f *forger) *signed { return f.sign(f.tenant, "bob:"+f.name, f.leaf) }),
	one("a name that goes up", badLabel, func(f *forger) *signed { return f.sign(f.tenant, "../"+f.name, f.leaf) }),
	one("a name with a zero", badLabel, func(f *forger) *signed { return f.sign(f.tenant, f.name+"\x00", f.leaf) }),
	one("a name that is too long", badLabel, func(f *forger) *signed {
		return f.sign(f.tenant, strings.Repeat("a", 64), f.leaf)
	}),
	one("a name in other letters", badLabel, func(f *forger) *signed { return f.sign(f.tenant, "c\u0430nary", f.leaf) }),
	one("a path in a policy", badLabel, func(f *forger) *signed { return f.asks(f.below(f.tenant, "x:bob")) }),
	one("no name of a policy", "is empty", func(f *forger) *signed { return f.asks(f.below(f.tenant, "")) }),
	one("several names of a policy", "several common names", func(f *forger) *signed {
		return f.asks(f.below(f.tenant, "bob", named("bob", "alice")))
	}),
}

// attacked are the commands of forgers, and the names that they use. Each command would have an
// effect.
var attacked = []struct {
	name    string
	command messages.Command
}{
	{"canary", messages.UnikernelDestroy{}},
	{"disk", messages.BlockRemove{}},
	{"canary", messages.UnikernelRestart{Form: messages.RestartSame}},
	{"canary", messages.UnikernelGet{Form: 3}},
	{"canary", info},
}

// seen is all that forgers want to change.
type seen struct {
	unikernels []messages.NamedInfo
	policies   []messages.NamedPolicy
	blocks     []messages.NamedBlock
}

func (w *world) see() seen {
	return seen{
		w.local(messages.Name{}, info).(messages.SuccessInfos).List,
		w.local(messages.Name{}, messages.PolicyInfo{}).(messages.SuccessPolicies).List,
		w.local(messages.Name{}, messages.BlockList{}).(messages.SuccessBlocks).List,
	}
}

// TestHostileChains: the endpoint refuses every forged chain of tenants at any depth, and says why.
// No command in one reaches the daemon, and a client with an honest chain is served.
func TestHostileChains(t *testing.T) {
	w := newWorld(t)
	tenant, path := w.signedRoot(), ""
	var tenants []*signed
	policy := carries(t, messages.PolicyAdd{Policy: alices})
	for depth := range 3 {
		name := fmt.Sprint("tenant", depth)
		tenant, path = w.sign(tenant, name, isCA, policy), path+name+":"
		tenants = append(tenants, tenant)
		require.Equal(t, text("created unikernel"), w.local(must(t, "%scanary", path), creates(config(guests.Image("hello", "spt"), "--quiet"))))
		require.Equal(t, text("added block device"), w.local(must(t, "%sdisk", path), messages.BlockAdd{Size: 1}))
		w.requireServed(tenant)
	}
	before, forged := w.see(), 0
	for _, a := range attacked[:hostile.Choose(1, len(attacked))] {
		for _, tenant := range tenants {
			f := &forger{w, tenant, policy, carries(t, a.command), a.name}
			for _, attempt := range forgeries {
				refusal := w.refusal(attempt.chain(f))
				require.Contains(t, refusal, attempt.want, "%T below %s: %s", a.command, tenant.cert.Subject, attempt.title)
				forged++
			}
		}
	}
	require.Equal(t, before, w.see())
	for _, tenant := range tenants {
		w.requireServed(tenant)
	}
	hostile.Figure(t, "forged chains", forged)
}

// requireServed checks that a tenant's honest client gets an answer.
func (w *world) requireServed(tenant *signed) {
	w.t.Helper()
	s := w.sign(tenant, "canary", carries(w.t, info))
	m, err := w.hear(s.presented(s.key))
	require.NoError(w.t, err)
	require.Len(w.t, m.Payload.(messages.SuccessInfos).List, 1)
}

// refusal returns why a client is refused. Of a client that is not, it returns the answer.
func (w *world) refusal(own tls.Certificate) string {
	m, err := w.hear(own)
	failure, refused := m.Payload.(messages.Failure)
	switch {
	case err != nil:
		return err.Error()
	case refused:
		return string(failure.Text)
	}
	return fmt.Sprintf("the answer is %#v", m)
}

// hear returns the first answer to a client that trusts every endpoint.
func (w *world) hear(own tls.Certificate) (messages.Wire, error) {
	raw, err := net.Dial("tcp", w.address)
	require.NoError(w.t, err)
	defer raw.Close()
	require.NoError(w.t, raw.SetDeadline(time.Now().Add(2*patience)))
	c := tls.Client(raw, &tls.Config{Certificates: []tls.Certificate{own}, InsecureSkipVerify: true, MinVersion: tls.VersionTLS13})
	frame, err := wire.ReadFrame(c, wire.MaxFrame)
	if err != nil {
		return messages.Wire{}, err
	}
	return wire.Decode(frame)
}
