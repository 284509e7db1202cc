// Package vectors holds examples of what native albatross 2.5.0 and 2.7.2 read,
// write and decide, made by programs linked against albatross's own library. The
// tests of all other packages check compatibility by them.
//
// Each file has one JSON object per line. Bytes are lower-case hex; a string that
// is not valid UTF-8 is {"$hex": "..."}; numbers have up to 64 bits; times are
// RFC 3339 in UTC with three decimals.
package vectors

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"embed"
	"encoding/hex"
	"encoding/json"
	"io"
	"testing"

	"github.com/stretchr/testify/require"
)

//go:embed data/*.jsonl.gz
var files embed.FS

// The files.
const (
	Accept  = "accept"         // strange messages that native accepts
	Cert    = "cert-extension" // the command inside a certificate
	MAC     = "mac"            // the addresses of network devices
	Name    = "name"           // names, paths and labels
	Policy  = "policy"         // what policies allow
	Reject  = "reject"         // messages that native refuses
	Restart = "restart"        // whether a unikernel is restarted
	Ring    = "ring"           // the history of a console
	State   = "state"          // state files
)

// Wire are the files of messages that native itself has written, or decoded without an error.
var Wire = []string{
	"wire-250", "wire-272",
	"random-250-v3", "random-250-v4", "random-250-v5", "random-272-v5",
}

// A Vector has the fields that the files of encoded values have in common.
type Vector struct {
	ID            string
	Native        string // the version of albatross that was asked
	Version       int    // of the wire protocol
	Hex           string
	Tags          []int // context tags from the payload inwards
	Value         json.RawMessage
	Reencode      string   // how native encodes the value, if not as Hex
	NativeEncoder bool     `json:"native_encoder"` // Hex was written by native
	Error         Text     // why it was refused
	Exception     Text     // the exception that ended native
	AcceptedBy    []string `json:"accepted_by"` // versions that accept what this one refuses
	RejectedBy    []string `json:"rejected_by"` // versions that refuse what this one accepts
	Choice        *int     // the form of a state file
}

// Bytes returns those of Hex.
func (v Vector) Bytes(t testing.TB) []byte {
	b, err := hex.DecodeString(v.Hex)
	require.NoError(t, err)
	return b
}

// Load returns the contents of a file.
func Load(t testing.TB, file string) []Vector { return LoadAs[Vector](t, file) }

// LoadAs returns the contents of a file, for files with fields of their own.
func LoadAs[T any](t testing.TB, file string) (l []T) {
	for _, line := range lines(t, file) {
		var v T
		require.NoError(t, json.Unmarshal(line, &v))
		l = append(l, v)
	}
	require.NotEmpty(t, l, "vectors of %s", file)
	return l
}

func lines(t testing.TB, file string) [][]byte {
	f, err := files.Open("data/" + file + ".jsonl.gz")
	require.NoError(t, err)
	defer f.Close()
	z, err := gzip.NewReader(bufio.NewReader(f))
	require.NoError(t, err)
	all, err := io.ReadAll(z)
	require.NoError(t, err)
	return bytes.Split(bytes.TrimSuffix(all, []byte("\n")), []byte("\n"))
}

// A Text is a string of a vector, which may be in hex.
type Text string

// UnmarshalJSON reads either form.
func (t *Text) UnmarshalJSON(b []byte) error {
	var inHex struct {
		Hex string `json:"$hex"`
	}
	if json.Unmarshal(b, &inHex) == nil {
		raw, err := hex.DecodeString(inHex.Hex)
		*t = Text(raw)
		return err
	}
	return json.Unmarshal(b, (*string)(t))
}
