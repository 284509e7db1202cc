package remote_test

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"albatross/messages"
	"albatross/sockets/remote"
	"albatross/sockets/wire"
	"albatross/test/vectors"
)

var (
	small = messages.Policy{Unikernels: 1, Memory: 32, CPUIDs: []int{0}}
	large = messages.Policy{Unikernels: 9, Memory: 999, CPUIDs: []int{0}}
	info  = messages.UnikernelInfo{Form: 4}
)

// TestReadChain: a chain of any shape yields its name, policies and command.
func TestReadChain(t *testing.T) {
	root := newRoot(t)
	alice := root.policy(t, "alice", small)
	plain := makeNode(t, alice, "nobody", isCA)
	deep := func(n int) *node {
		at := alice
		for i := range n {
			at = at.policy(t, fmt.Sprintf("d%d", i+1), small)
		}
		return at
	}
	several := func(_ testing.TB, c *x509.Certificate) {
		c.Subject.ExtraNames = append(c.Subject.ExtraNames, attribute("other"), attribute("x"))
	}
	for title, tc := range map[string]struct {
		leaf     *node
		want     string // the name
		policies string // their names, from the root
		err      string
	}{
		"below the root":      {leaf: root.leaf(t, "x", info), want: ":x"},
		"the root itself":     {leaf: root.leaf(t, ".", info), want: ":"},
		"one policy":          {leaf: alice.leaf(t, "x", info), want: "alice:x", policies: "alice:"},
		"a dot":               {leaf: alice.leaf(t, ".", info), want: "alice:", policies: "alice:"},
		"a colon":             {leaf: alice.leaf(t, ":", info), want: "alice:", policies: "alice:"},
		"no name":             {leaf: alice.leaf(t, "", info), want: "alice:", policies: "alice:"},
		"an empty name":       {leaf: alice.leaf(t, "", messages.PolicyInfo{}, emptyName), want: "alice:", policies: "alice:"},
		"upper case":          {leaf: alice.leaf(t, "UPPER", info), want: "alice:upper", policies: "alice:"},
		"two dots":            {leaf: alice.leaf(t, "..", info), want: "alice:..", policies: "alice:"},
		"several levels":      {leaf: deep(2).leaf(t, "x", info), want: "alice:d1:d2:x", policies: "alice: alice:d1: alice:d1:d2:"},
		"a larger policy":     {leaf: alice.policy(t, "m", large).leaf(t, "x", info), want: "alice:m:x", policies: "alice: alice:m:"},
		"an empty policy":     {leaf: alice.policy(t, "m", messages.Policy{}).leaf(t, "x", info), want: "alice:m:x", policies: "alice: alice:m:"},
		"a plain CA":          {leaf: plain.leaf(t, "x", info), want: "alice:x", policies: "alice:"},
		"one between two":     {leaf: plain.policy(t, "bob", small).leaf(t, "x", info), want: "alice:bob:x", policies: "alice: alice:bob:"},
		"an odd plain name":   {leaf: makeNode(t, alice, "a b:c", isCA).leaf(t, "x", info), want: "alice:x", policies: "alice:"},
		"nine certificates":   {leaf: deep(7).leaf(t, ".", info), want: "alice:d1:d2:d3:d4:d5:d6:d7:", policies: "alice: alice:d1: alice:d1:d2: alice:d1:d2:d3: alice:d1:d2:d3:d4: alice:d1:d2:d3:d4:d5: alice:d1:d2:d3:d4:d5:d6: alice:d1:d2:d3:d4:d5:d6:d7:"},
		"ten certificates":    {leaf: deep(8).leaf(t, ".", info), err: "10 certificates"},
		"a command above":     {leaf: makeNode(t, alice, "bob", isCA, carries(info)).leaf(t, "x", info), err: `"bob": it has another command`},
		"a removal above":     {leaf: makeNode(t, alice, "bob", isCA, carries(messages.PolicyRemove{})).leaf(t, "x", info), err: "it has another command"},
		"garbage above":       {leaf: makeNode(t, alice, "bob", isCA, contains([]byte("garbage"))).leaf(t, "x", info), err: `"bob": cannot read the command`},
		"no name above":       {leaf: alice.policy(t, "", small).leaf(t, "x", info), err: "its common name is empty"},
		"a bad name above":    {leaf: alice.policy(t, "bad_name", small).leaf(t, "x", info), err: "invalid label"},
		"a colon above":       {leaf: alice.policy(t, ":", small).leaf(t, "x", info), err: "invalid label"},
		"a path above":        {leaf: alice.policy(t, "b:c", small).leaf(t, "x", info), err: "invalid label"},
		"upper case above":    {leaf: alice.policy(t, "Bob", small).leaf(t, "x", info), want: "alice:bob:x", policies: "alice: alice:bob:"},
		"no command":          {leaf: makeNode(t, alice, "x"), err: "has no command"},
		"garbage":             {leaf: makeNode(t, alice, "x", contains([]byte("garbage"))), err: "cannot read the command"},
		"nothing":             {leaf: makeNode(t, alice, "x", contains(nil)), err: "cannot read the command"},
		"a bad name":          {leaf: alice.leaf(t, "bad_name", info), err: "invalid label"},
		"a minus":             {leaf: alice.leaf(t, "-x", info), err: "invalid label"},
		"a path as a name":    {leaf: alice.leaf(t, "a:b", info), err: "invalid label"},
		"63 bytes":            {leaf: alice.leaf(t, strings.Repeat("x", 63), info), want: "alice:" + strings.Repeat("x", 63), policies: "alice:"},
		"64 bytes":            {leaf: alice.leaf(t, strings.Repeat("x", 64), info), err: "invalid label"},
		"several names":       {leaf: alice.leaf(t, "x", info, several), err: "several common names"},
		"a policy as a leaf":  {leaf: alice.leaf(t, "x", messages.PolicyAdd{Policy: small}), err: "not allowed"},
		"no name for a block": {leaf: alice.leaf(t, ".", messages.BlockAdd{Size: 1}), err: "create-block needs a name"},
	} {
		t.Run(title, func(t *testing.T) {
			r, err := remote.ReadChain(tc.leaf.chain())
			if tc.err != "" {
				require.ErrorContains(t, err, tc.err)
				require.NotZero(t, r.Version, "an answer must be possible")
				return
			}
			require.NoError(t, err)
			var policies []string
			for _, p := range r.Policies {
				policies = append(policies, p.Name.String())
			}
			require.Equal(t, tc.want, r.Name.String())
			require.Equal(t, tc.policies, strings.Join(policies, " "))
			require.Equal(t, messages.Version5, r.Version)
		})
	}
	r, err := remote.ReadChain(alice.policy(t, "m", large).leaf(t, "x", info).chain())
	require.NoError(t, err)
	require.Equal(t, info, r.Command)
	require.Equal(t, []messages.NamedPolicy{
		{Name: messages.Name{Path: "alice"}, Policy: small}, {Name: messages.Name{Path: "alice:m"}, Policy: large},
	}, r.Policies, "each in its place, and as it was signed")
	_, err = remote.ReadChain(root.chain())
	require.ErrorContains(t, err, "internal error")
}

// commands lists all of them, and whether each is allowed about x, and about the path itself.
var commands = []struct {
	command     messages.Command
	named, path bool
}{
	{messages.ConsoleAdd{}, false, false},
	{messages.ConsoleAdd{Max: messages.Some(3)}, false, false},
	{messages.ConsoleSubscribe{Count: messages.Some(3)}, true, true},
	{messages.ConsoleSubscribe{Old: true, Since: messages.Some(time.Now().UTC().Truncate(time.Second))}, true, true},
	{messages.ConsoleListInactive{}, true, true},
	{messages.StatsAdd{}, false, false},
	{messages.StatsRemove{}, false, false},
	{messages.StatsSubscribe{}, true, true},
	{messages.StatsInitial{}, false, false},
	{messages.UnikernelInfo{Form: 1}, true, true},
	{messages.UnikernelInfo{Form: 6}, true, true},
	{create(1, false), true, true},
	{create(5, false), true, true},
	{create(3, true), true, true},
	{messages.UnikernelDestroy{}, true, true},
	{messages.UnikernelRestart{}, true, true},
	{messages.UnikernelRestart{Form: messages.RestartSame}, true, true},
	{messages.UnikernelGet{Form: 1}, true, true},
	{messages.UnikernelGet{Form: 3, Level: 11}, true, true},
	{messages.PolicyInfo{}, true, true},
	{messages.PolicyAdd{Policy: small}, false, false},
	{messages.PolicyRemove{}, false, false},
	{messages.BlockList{}, true, true},
	{messages.BlockAdd{Size: 1}, true, false},
	{messages.BlockRemove{}, true, false},
	{messages.BlockOldAdd{Size: 1}, true, false},
	{messages.BlockOldSet{Data: []byte("x")}, true, false},
	{messages.BlockOldSet{}, true, false},
	{messages.BlockOldDump{}, true, false},
	{messages.BlockDump{}, true, false},
	{messages.BlockSet{}, true, false},
}

func create(form int, force bool) messages.UnikernelCreate {
	return messages.UnikernelCreate{Form: form, Force: force, Config: messages.Config{Arguments: messages.Arguments{CPUIDs: []int{0}, Memory: 16, CPUs: 1}}}
}

func TestWhichCommandsAreAllowed(t *testing.T) {
	root := newRoot(t)
	for _, tc := range commands {
		for name, allowed := range map[string]bool{"x": tc.named, "": tc.path, ".": tc.path, ":": tc.path} {
			r, err := remote.ReadChain(root.leaf(t, name, tc.command).chain())
			require.Equal(t, allowed, err == nil, "%#v of %q: %v", tc.command, name, err)
			require.IsType(t, tc.command, r.Command)
			if tc.named && !allowed {
				require.ErrorContains(t, err, "needs a name")
			}
		}
	}
}

// TestVectors: each extension that native can write is passed on unchanged or refused with a text,
// in every version.
func TestVectors(t *testing.T) {
	root := newRoot(t)
	n, versions := 0, map[messages.Version]int{}
	for _, v := range vectors.Load(t, vectors.Cert) {
		want, err := wire.DecodeExtension(v.Bytes(t))
		r, refused := remote.ReadChain(makeNode(t, root, "x", contains(v.Bytes(t))).chain())
		if err != nil {
			require.Error(t, refused, v.ID)
			continue
		}
		require.Equal(t, want.Command, r.Command, v.ID)
		require.Equal(t, want.Version, r.Version, v.ID)
		versions[r.Version]++
		n++
	}
	require.Len(t, versions, 3)
	t.Logf("%d extensions", n)
}

// TestNativeChains: a chain that native has signed is read as native has read it.
func TestNativeChains(t *testing.T) {
	for file, want := range map[string]string{
		"chain-larger-policy":     "alice:mallory:",
		"chain-two-levels":        "alice:eve:",
		"leaf-block-dump":         "alice:sdisk",
		"leaf-create-empty-image": "alice:streamed",
		"leaf-info-dot":           "alice:",
		"native-hello":            "alice:hello",
	} {
		chain := append(nativeCertificates(t, file), nativeCertificates(t, "native-cacert")...)
		r, err := remote.ReadChain(chain)
		require.NoError(t, err, file)
		require.Equal(t, want, r.Name.String(), file)
		require.Len(t, r.Policies, len(chain)-2)
	}
}

func nativeCertificates(t testing.TB, name string) []*x509.Certificate {
	text, err := os.ReadFile(filepath.Join("testdata", "native", name+".pem"))
	require.NoError(t, err)
	var list []*x509.Certificate
	for {
		var block *pem.Block
		if block, text = pem.Decode(text); block == nil {
			return list
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		require.NoError(t, err)
		list = append(list, cert)
	}
}

// FuzzReadChain: whatever is in a certificate, its chain is read or refused, and what is read can
// be sent to the daemon.
func FuzzReadChain(f *testing.F) {
	root := newRoot(f)
	alice := root.policy(f, "alice", small)
	for _, tc := range commands {
		f.Add(root.leaf(f, "x", tc.command).cert.Raw, true)
	}
	f.Add(alice.cert.Raw, false)
	f.Fuzz(func(t *testing.T, der []byte, leaf bool) {
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			return
		}
		chain := []*x509.Certificate{cert, alice.cert, root.cert}
		if !leaf {
			chain = []*x509.Certificate{root.leaf(t, "x", info).cert, cert, root.cert}
		}
		r, err := remote.ReadChain(chain)
		header := messages.Header{Version: messages.Version5, Name: r.Name}
		_, encodeErr := wire.AppendFrame(nil, messages.Wire{Header: header, Payload: messages.Failure{}})
		require.NoError(t, encodeErr)
		if err != nil {
			return
		}
		name, err := messages.ParseName(r.Name.String())
		require.NoError(t, err)
		require.Equal(t, r.Name, name)
		require.True(t, messages.Path("alice").Contains(r.Name.Path) || !leaf, "a client leaves its path")
	})
}
