package control

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestMostEnds: an answer that does not end takes no more memory than an answer may have.
func TestMostEnds(t *testing.T) {
	ends := bytes.Repeat([]byte("\xa1\x01\x61x"), 3)
	_, err := readAnswer(bytes.NewReader(append(ends, all...)), 3)
	require.NoError(t, err)
	_, err = readAnswer(bytes.NewReader(append(ends, all...)), 2)
	require.EqualError(t, err, "cannot read the answer: it has more than 2 items")
}
