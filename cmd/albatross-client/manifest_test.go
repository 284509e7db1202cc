package main

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"albatross/messages"
)

// readText reads a manifest from a file.
func readText(t *testing.T, text string) (manifest, error) {
	path := filepath.Join(t.TempDir(), "m.yaml")
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	m, _, err := readManifests([]string{path}, nil)
	return m, err
}

func fullArguments() messages.Arguments {
	return messages.Arguments{
		Fail: messages.FailBehaviour{Restart: true, Codes: []int{3, 4}}, Startup: messages.Some(7), CPUIDs: []int{0, 2}, Memory: 64, CPUs: 1,
		Blocks:   []messages.BlockDevice{{Name: "storage", Device: messages.Some("web:data"), SectorSize: messages.Some(4096)}, {Name: "b"}},
		Networks: []messages.Network{{Name: "service", Bridge: messages.Some("inside"), MAC: messages.Some(messages.MAC{2, 1, 2, 3, 4, 5}), IP: messages.Some(netip.MustParseAddr("10.1.0.9")), Static: true, Rate: 1 << 20}, {Name: "n", Static: true}},
		Argv:     messages.Some([]string{"a b", "", "it's", "- x", "1"}),
		Publish:  []messages.Publication{{From: 8080, To: 80}, {Host: netip.MustParseAddr("::1"), From: 53, To: 53, UDP: true}},
	}
}

// TestAManifestComesBack: what is written is what is read.
func TestAManifestComesBack(t *testing.T) {
	name := messages.Name{Path: "org", Label: "web"}
	digest := strings.Repeat("12", 32)
	block := sizeValue(10)
	m := manifest{
		Policies:   []policyEntry{{Path: "org", Unikernels: 3, Memory: 100, CPUs: []int{0, 1}, Block: &block, Bridges: []string{"a", "b"}}},
		Networks:   []networkEntry{{Name: nameValue{messages.Name{Label: "in"}}, Subnet: "10.1.0.0/24", Gateway: "10.1.0.1", IPv6: "fd00:1::/64", MTU: 1280, NoNAT: true, Backend: "user"}},
		Blocks:     []blockEntry{{Name: nameValue{name}, Size: 7, Contents: &source{URL: "https://example.org/x", SHA256: digestValue(digest)}}},
		Unikernels: []unikernelEntry{unikernelOf(name, fullArguments(), source{File: "/x.spt", SHA256: digestValue(digest)})},
	}
	text, err := m.text()
	require.NoError(t, err)
	back, err := readText(t, text)
	require.NoError(t, err, text)
	require.Equal(t, m, back, text)
	require.Equal(t, fullArguments(), back.Unikernels[0].arguments())
}

// TestCommandsSayTheSame: the arguments of the command line that is exported are those of the
// unikernel.
func TestCommandsSayTheSame(t *testing.T) {
	m := manifest{Unikernels: []unikernelEntry{unikernelOf(messages.Name{Path: "org", Label: "web"}, fullArguments(), source{File: "my image.spt"})}}
	require.Equal(t, []string{"albatross-client create org:web 'my image.spt' --mem=64 --cpu=0 --cpu=2 '--arg=a b' --arg= '--arg=it'\\''s' '--arg=- x' --arg=1 " +
		"--block=storage:web:data@4096 --block=b --net=service:inside@02:01:02:03:04:05,address=10.1.0.9,rate=1048576 --net=n,address=auto " +
		"--publish=8080:80 '--publish=[::1]:53:53/udp' --restart-on-fail --exit-code=3 --exit-code=4 --startup=7 --no-add-name"}, m.commands())
}

func TestAManifestThatCannotBeUsed(t *testing.T) {
	for text, want := range map[string]string{
		"unikernels: 3":            "line 1: cannot unmarshal",
		"policys: []":              "line 1: there is no field 'policys'\nDid you mean 'policies'?",
		"a: [":                     "line 1: did not find expected node content",
		"unikernels:\n- name: x_y": "line 2: invalid name",
		"unikernels:\n- name: [a]": "line 2: a single value is expected",
		"unikernels:\n- name: 'a:'\n  image: {file: x}":                         "a unikernel has no name, or that of a path: a:",
		"unikernels:\n- image: {file: x}":                                       "a unikernel has no name, or that of a path",
		"unikernels:\n- name: a":                                                "the image of a has neither file, url, oci nor sha256",
		"unikernels:\n- name: a\n  image: {sha256: ab}":                         "line 3: expected a SHA-256, 64 hexadecimal digits",
		"unikernels:\n- name: a\n  image: {file: x, url: 'http://x'}":           "the image of a has a file and a url: give one of them",
		"unikernels:\n- name: a\n  image: {url: x}":                             "line 3: expected a URL",
		"unikernels:\n- name: a\n  image: {file: x}\n  blocks: [a, a]":          "Block devices must be a set",
		"unikernels:\n- name: a\n  image: {file: x}\n  networks: ['a,speed=1']": "line 4: 'speed=1' is not address=auto",
		"unikernels:\n- name: a\n  image: {file: x}\n  publish: ['80']":         "line 4: cannot publish \"80\": two ports are needed",
		"policies:\n- unikernels: 1":                                            "a policy has no path",
		"policies:\n- path: a\n- path: a":                                       "the policy a is there twice",
		"networks:\n- name: n\n  subnet: x":                                     "line 3: netip.ParsePrefix",
		"networks:\n- name: n\n  gateway: x":                                    "line 3: ParseAddr",
		"blocks:\n- name: b":                                                    "the block device b has no size",
		"policies: []\n---\npolicies: []":                                       "it has several documents: give a file for each",
	} {
		_, err := readText(t, text)
		require.ErrorContains(t, err, want, text)
		var input inputError
		require.ErrorAs(t, err, &input, text)
	}
}

// TestFilesAreRelativeToTheManifest: as people expect, and standard input is here.
func TestFilesAreRelativeToTheManifest(t *testing.T) {
	path := filepath.Join(t.TempDir(), "m.yaml")
	text := "unikernels:\n- {name: a, image: {file: a.spt}}\n- {name: b, image: {file: /b.spt}}\nblocks:\n- {name: c, size: 1, contents: {file: c.img}}"
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	m, _, err := readManifests([]string{path}, nil)
	require.NoError(t, err)
	require.Equal(t, filepath.Join(filepath.Dir(path), "a.spt"), m.Unikernels[0].Image.File)
	require.Equal(t, "/b.spt", m.Unikernels[1].Image.File)
	require.Equal(t, filepath.Join(filepath.Dir(path), "c.img"), m.Blocks[0].Contents.File)
	m, _, err = readManifests([]string{"-"}, strings.NewReader(text))
	require.NoError(t, err)
	require.Equal(t, "a.spt", m.Unikernels[0].Image.File)
}

// TestWhatIsTheSame: what is chosen by default, and the order of sets, is no difference.
func TestWhatIsTheSame(t *testing.T) {
	name := messages.Name{Label: "a"}
	explicit, implicit := fullArguments(), fullArguments()
	implicit.Startup, explicit.Startup = messages.Option[int]{}, messages.Some(messages.DefaultStartup)
	implicit.Blocks = []messages.BlockDevice{{Name: "b"}, {Name: "a"}}
	explicit.Blocks = []messages.BlockDevice{{Name: "a", Device: messages.Some("a"), SectorSize: messages.Some(512)}, {Name: "b", Device: messages.Some("B")}}
	implicit.Networks = []messages.Network{{Name: "n"}}
	explicit.Networks = []messages.Network{{Name: "n", Bridge: messages.Some("n"), MAC: messages.Some(messages.Network{Name: "n"}.Address(name))}}
	implicit.Argv, explicit.Argv = messages.Option[[]string]{}, messages.Some([]string{})
	implicit.CPUIDs = []int{2, 0}
	require.Empty(t, argumentDifferences(name, implicit, explicit))

	secret := fullArguments()
	secret.Argv = messages.Some([]string{"password"})
	require.Equal(t, "arguments", argumentDifferences(name, fullArguments(), secret).String())
}

// TestEveryArgumentIsCompared: a change of any argument is seen.
func TestEveryArgumentIsCompared(t *testing.T) {
	for what, change := range map[string]func(*messages.Arguments){
		"memory":                       func(a *messages.Arguments) { a.Memory++ },
		"CPUs":                         func(a *messages.Arguments) { a.CPUIDs = []int{1} },
		"the name among the arguments": func(a *messages.Arguments) { a.AddName = true },
		"block devices":                func(a *messages.Arguments) { a.Blocks = a.Blocks[:1] },
		"networks":                     func(a *messages.Arguments) { a.Networks[1].Rate = 3 },
		"published ports":              func(a *messages.Arguments) { a.Publish = nil },
		"fail behaviour":               func(a *messages.Arguments) { a.Fail = messages.FailBehaviour{} },
		"startup":                      func(a *messages.Arguments) { a.Startup = messages.Some(8) },
	} {
		changed := fullArguments()
		change(&changed)
		d := argumentDifferences(messages.Name{Label: "a"}, fullArguments(), changed)
		require.Len(t, d, 1, what)
		require.True(t, strings.HasPrefix(d[0], what+" "), d)
	}
}
