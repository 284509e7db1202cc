package main

import (
	"bytes"
	"cmp"
	"encoding/hex"
	"encoding/json"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/klauspost/compress/zlib"
	"github.com/stretchr/testify/require"

	"albatross/messages"
	"albatross/sockets/wire"
	"albatross/sockets/wire/wirejson"
	"albatross/test/vectors"
)

// TestNativeStates: a state that native has read is imported as native shows it, or refused with
// the reason. One that no version of native reads is refused.
func TestNativeStates(t *testing.T) {
	files := map[string]vectors.Vector{} // by their contents, as any version shows them
	for _, v := range vectors.Load(t, vectors.State) {
		if known := files[v.Hex]; known.Value == nil {
			files[v.Hex] = v
		}
	}
	seen := map[string]int{}
	for _, v := range files {
		want, reason := expected(t, v.Value)
		dir := t.TempDir()
		writeFile(t, statePath(dir), v.Bytes(t))
		s := begin(t, dir)
		if err := s.imports(); reason != "" {
			require.ErrorContains(t, err, reason, v.ID)
			s.requireUntouched(t)
		} else {
			require.NoError(t, err, v.ID)
			require.JSONEq(t, want, s.json(t), v.ID)
		}
		s.stop(t)
		seen[reason]++
	}
	require.Greater(t, seen[""], 80)
	for _, reason := range []string{malformed, isPath, isTwice, isBHyve, isBroken} {
		require.NotZero(t, seen[reason], reason)
	}
}

// Why a state is refused.
const (
	malformed = "cannot decode state"
	isPath    = "which is that of a path"
	isTwice   = "two unikernels have the name"
	isBHyve   = "is a bhyve unikernel"
	isBroken  = "cannot decompress"
)

// A nativeName is a name as the vectors show it.
type nativeName struct {
	Path  []string `json:"path"`
	Label *string  `json:"label"`
}

func (n nativeName) String() string {
	text := strings.Join(n.Path, ":") + ":"
	if n.Label != nil {
		text += *n.Label
	}
	return strings.ToLower(text)
}

// The parts of a state as the vectors show it.
type (
	nativeUnikernel struct {
		Name   nativeName     `json:"name"`
		Config map[string]any `json:"config"`
	}
	nativePolicy struct {
		Name   nativeName     `json:"name"`
		Policy map[string]any `json:"policy"`
	}
	nativeValue struct {
		Unikernels []nativeUnikernel `json:"unikernels"`
		Policies   []nativePolicy    `json:"policies"`
	}
)

// expected returns what must be stored for what native shows, or else why it is refused.
func expected(t *testing.T, shown json.RawMessage) (want, reason string) {
	if shown == nil {
		return "", malformed
	}
	var value nativeValue
	require.NoError(t, json.Unmarshal(shown, &value))
	names := map[string]bool{}
	for _, u := range value.Unikernels {
		switch {
		case u.Name.Label == nil:
			return "", isPath
		case names[u.Name.String()]:
			return "", isTwice
		case u.Config["typ"] == "bhyve":
			return "", isBHyve
		case !inflate(t, u.Config):
			return "", isBroken
		}
		names[u.Name.String()] = true
	}
	slices.SortFunc(value.Unikernels, func(a, b nativeUnikernel) int { return cmp.Compare(a.Name.String(), b.Name.String()) })
	value.Policies = belowRoot(value.Policies)
	stored, err := json.Marshal(value)
	require.NoError(t, err)
	return string(stored), ""
}

// inflate decompresses the image of a configuration.
func inflate(t *testing.T, config map[string]any) bool {
	if config["compressed"] == false {
		return true
	}
	packed, err := hex.DecodeString(config["image_hex"].(string))
	require.NoError(t, err)
	z, err := zlib.NewReader(bytes.NewReader(packed))
	if err != nil {
		return false
	}
	image, err := io.ReadAll(z)
	config["compressed"], config["image_hex"] = false, hex.EncodeToString(image)
	return err == nil
}

// belowRoot leaves out the policy of the root, and the labels.
func belowRoot(policies []nativePolicy) []nativePolicy {
	list := []nativePolicy{}
	for _, p := range policies {
		p.Name.Label = nil
		if len(p.Name.Path) > 0 {
			list = append(list, p)
		}
	}
	slices.SortFunc(list, func(a, b nativePolicy) int { return cmp.Compare(a.Name.String(), b.Name.String()) })
	return list
}

// json shows what is stored as the vectors do.
func (s *start) json(t *testing.T) string {
	stored := s.stored(t)
	require.True(t, stored.Imported)
	state := wire.State{Policies: stored.Policies}
	for _, r := range stored.Unikernels {
		require.False(t, r.Runtime.OK)
		state.Unikernels = append(state.Unikernels, messages.NamedConfig{Name: r.Name, Config: messages.Config{
			Type: r.Spec.Type, Image: s.image(t, r.Spec.Digest), Arguments: r.Spec.Arguments,
		}})
	}
	shown, err := json.Marshal(wirejson.State(state))
	require.NoError(t, err)
	return string(shown)
}
