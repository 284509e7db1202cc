package wirecmd_test

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"encoding/json"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"albatross/cmd/albatross-client/wirecmd"
	"albatross/messages"
	"albatross/sockets/wire"
	"albatross/test/vectors"
)

// TestVectors: the value of each vector is shown exactly as the vector has it.
func TestVectors(t *testing.T) {
	files := map[string]string{vectors.Accept: "wire", vectors.State: "state", vectors.Cert: "cert-extension"}
	for _, file := range vectors.Wire {
		files[file] = "wire"
	}
	for file, kind := range files {
		t.Run(file, func(t *testing.T) {
			all := vectors.Load(t, file)
			all = slices.DeleteFunc(all, func(v vectors.Vector) bool { return v.Value == nil })
			for i, out := range run(t, kind, all) {
				require.Empty(t, out.Error, all[i].ID)
				require.Equal(t, fold(parse(t, all[i].Value)), out.Value, all[i].ID)
			}
		})
	}
}

func run(t *testing.T, kind string, all []vectors.Vector) (l []wirecmd.Output) {
	t.Helper()
	var in, out bytes.Buffer
	for _, v := range all {
		in.WriteString(v.Hex + "\n")
	}
	require.NoError(t, wirecmd.Run(&in, &out, kind))
	lines := bufio.NewReader(&out)
	for range all {
		line, err := lines.ReadBytes('\n')
		require.NoError(t, err)
		l = append(l, parseOutput(t, line))
	}
	return l
}

func parseOutput(t *testing.T, line []byte) (o wirecmd.Output) {
	d := json.NewDecoder(bytes.NewReader(line))
	d.UseNumber()
	require.NoError(t, d.Decode(&o))
	return o
}

func parse(t *testing.T, value []byte) (v any) {
	d := json.NewDecoder(bytes.NewReader(value))
	d.UseNumber()
	require.NoError(t, d.Decode(&v))
	return v
}

// fold makes the labels in a value lower case, which native 2.5.0 does not do.
func fold(v any) any {
	switch v := v.(type) {
	case []any:
		for i := range v {
			v[i] = fold(v[i])
		}
	case map[string]any:
		if _, isName := v["path"]; isName {
			return foldName(v)
		}
		for k := range v {
			v[k] = fold(v[k])
		}
	}
	return v
}

func foldName(v map[string]any) map[string]any {
	path := v["path"].([]any)
	for i := range path {
		path[i] = strings.ToLower(path[i].(string))
	}
	if label, ok := v["label"].(string); ok {
		v["label"] = strings.ToLower(label)
	}
	return v
}

func TestErrors(t *testing.T) {
	for _, c := range []struct{ in, kind, want string }{
		{"3000", "wire", `^\{"error":"cannot decode message: message: header: it ends too early"\}\n$`},
		{"30", "state", `^\{"error":"cannot decode state: .*"\}\n$`},
		{"zz", "cert-extension", `^\{"error":"cannot read hex: .*"\}\n$`},
		{"\n", "wire", `^\{"error":.*\}\n$`},
		{"", "wire", `^$`},
	} {
		var out bytes.Buffer
		require.NoError(t, wirecmd.Run(strings.NewReader(c.in), &out, c.kind))
		require.Regexp(t, regexp.MustCompile(c.want), out.String())
	}
	require.Error(t, wirecmd.Run(strings.NewReader(""), &bytes.Buffer{}, "pigeon"))
}

// TestLongLine: an image of 16 MB is a line of 32 MB.
func TestLongLine(t *testing.T) {
	const size = 16 << 20
	b, err := wire.Append(nil, messages.Wire{
		Header:  messages.Header{Version: messages.CurrentVersion},
		Payload: messages.SuccessImage{Image: make([]byte, size)},
	})
	require.NoError(t, err)
	var out bytes.Buffer
	require.NoError(t, wirecmd.Run(strings.NewReader(hex.EncodeToString(b)), &out, "wire"))
	require.Greater(t, out.Len(), 4*size, "the image is in the encoding and in the value")
	require.Equal(t, 1, bytes.Count(out.Bytes(), []byte("\n")))
}
