package wire_test

import (
	"encoding/hex"
	"regexp"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"albatross/messages"
	"albatross/sockets/wire"
	"albatross/test/vectors"
)

// TestWireVectors: what native has written or read decodes, and is encoded to the same bytes,
// except where native itself writes it differently.
func TestWireVectors(t *testing.T) {
	for _, file := range append(slices.Clone(vectors.Wire), vectors.Accept) {
		t.Run(file, func(t *testing.T) {
			for _, v := range vectors.Load(t, file) {
				m, err := wire.Decode(v.Bytes(t))
				require.NoError(t, err, v.ID)
				b, err := wire.Append(nil, m)
				require.NoError(t, err, v.ID)
				requireEncoding(t, v, m, b)
			}
		})
	}
}

// requireEncoding checks that the encoding b of the message m is that of the vector. Where native
// writes another one (it writes old forms as newer ones, and makes bytes canonical that are not),
// ours must at least decode to the same message.
func requireEncoding(t *testing.T, v vectors.Vector, m messages.Wire, b []byte) {
	t.Helper()
	got := hex.EncodeToString(b)
	if got == v.Hex || got == v.Reencode {
		return
	}
	if v.Reencode == "" && !hasUpperCase(v.Value) {
		require.Equal(t, v.Hex, got, v.ID)
	}
	again, err := wire.Decode(b)
	require.NoError(t, err, v.ID)
	require.Equal(t, m, again, v.ID)
}

// hasUpperCase reports whether a label of a message's value has upper-case letters. Native 2.5.0
// keeps them, and we do not.
func hasUpperCase(value []byte) bool {
	return regexp.MustCompile(`"(path":\[[^\]]*|label":")[^"\]]*[A-Z]`).Match(value)
}

// mutants are refused vectors whose bytes were changed at random, and which have become a message
// that only the other version has: the console add of 2.5.0. That version was not asked whether it
// accepts them.
var mutants = []string{"reject272-mutation-0-19", "reject272-mutation-0-23"}

// TestRejectVectors: what no version of native accepts is refused.
func TestRejectVectors(t *testing.T) {
	for _, v := range vectors.Load(t, vectors.Reject) {
		_, err := wire.Decode(v.Bytes(t))
		if len(v.AcceptedBy) > 0 || slices.Contains(mutants, v.ID) {
			require.NoError(t, err, v.ID)
		} else {
			require.Error(t, err, "%s, which native refuses: %s", v.ID, v.Error)
		}
	}
}

// TestStateVectors: what native has read decodes, and is encoded as native does it in either form.
func TestStateVectors(t *testing.T) {
	for _, v := range vectors.Load(t, vectors.State) {
		s, err := wire.DecodeState(v.Bytes(t))
		if v.Value == nil {
			// 2.5.0 does not know the newer forms, and 2.7.2 has no names in upper case.
			if s.Choice < 5 && v.ID != "state272-duplicate-case" {
				require.Error(t, err, "%s: %s%s", v.ID, v.Error, v.Exception)
			}
			continue
		}
		require.NoError(t, err, v.ID)
		require.Equal(t, *v.Choice, s.Choice, v.ID)
		if hasUpperCase(v.Value) {
			continue
		}
		want := v.Reencode
		if want == "" {
			want = v.Hex
		}
		s.Choice = wire.StateSince27
		if v.Native == "2.5.0" {
			s.Choice = wire.StateUntil25
		}
		b, err := wire.AppendState(nil, s)
		require.NoError(t, err, v.ID)
		require.Equal(t, want, hex.EncodeToString(b), v.ID)
	}
}

// TestExtensionVectors: what native has read decodes, and is encoded with the current version.
func TestExtensionVectors(t *testing.T) {
	all := vectors.Load(t, vectors.Cert)
	accepted := map[string]bool{} // by any version of native
	for _, v := range all {
		if v.Value != nil {
			accepted[v.Hex] = true
		}
	}
	for _, v := range all {
		x, err := wire.DecodeExtension(v.Bytes(t))
		if !accepted[v.Hex] {
			if v.Value == nil && !knownToOther(v.ID) {
				require.Error(t, err, "%s: %s", v.ID, v.Error)
			}
			continue
		}
		require.NoError(t, err, v.ID)
		b, err := wire.AppendExtension(nil, x.Command)
		require.NoError(t, err, v.ID)
		requireExtension(t, v, x, b)
	}
}

// knownToOther reports whether a vector is of a form that only the other version of native has, for
// which there is no vector.
func knownToOther(id string) bool {
	return regexp.MustCompile(`^cert250-(console-add-\d+|info-[56]|create-[45].*|restart-args[12]|force-create-[45])$|` +
		`^cert272-(console-add-null|console-old-.*|info-[123]|get-[12]|restart-1|(force-)?create-[12].*)$`).MatchString(id)
}

// requireExtension checks that b is the vector's encoding, or has the same meaning in the current
// version, and in the form that the command had.
func requireExtension(t *testing.T, v vectors.Vector, x wire.Extension, b []byte) {
	t.Helper()
	got := hex.EncodeToString(b)
	if got == v.Hex || got == v.Reencode || v.Value == nil {
		return
	}
	require.NotEmpty(t, v.Reencode, v.ID)
	again, err := wire.DecodeExtension(b)
	require.NoError(t, err, v.ID)
	require.Equal(t, wire.Extension{Version: messages.CurrentVersion, Command: x.Command}, again, v.ID)
}
