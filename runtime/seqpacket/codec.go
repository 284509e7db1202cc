package seqpacket

import (
	"fmt"

	"github.com/fxamacker/cbor/v2"
)

const (
	// maxNesting is more than any message needs.
	maxNesting = 6
	// maxPairs is more than the fields of any message.
	maxPairs = 32
)

// A Codec turns messages into frames of CBOR, with integer keys, and back.
type Codec struct {
	encode   cbor.EncMode
	decode   cbor.DecMode
	maxFrame int
}

// NewCodec returns one for frames of at most maxFrame bytes, with lists of at most maxElements.
func NewCodec(maxFrame, maxElements int) Codec {
	return Codec{
		encode: mustMode(cbor.EncOptions{Sort: cbor.SortCoreDeterministic}.EncMode()),
		decode: mustMode(cbor.DecOptions{
			DupMapKey:        cbor.DupMapKeyEnforcedAPF,
			IndefLength:      cbor.IndefLengthForbidden,
			TagsMd:           cbor.TagsForbidden,
			MaxNestedLevels:  maxNesting,
			MaxArrayElements: maxElements,
			MaxMapPairs:      maxPairs,
		}.DecMode()),
		maxFrame: maxFrame,
	}
}

func mustMode[M any](m M, err error) M {
	if err != nil {
		panic("internal error: cannot set up CBOR: " + err.Error())
	}
	return m
}

// Encode returns the bytes of a message.
func (c Codec) Encode(message any) ([]byte, error) {
	frame, err := c.encode.Marshal(message)
	if err == nil && len(frame) > c.maxFrame {
		err = fmt.Errorf("internal error: a message of %d bytes is too long", len(frame))
	}
	return frame, err
}

// Decode reads a message into a pointer to one. It ignores unknown fields: their sender
// speaks another version of the protocol.
func (c Codec) Decode(frame []byte, message any) error {
	if err := c.decode.Unmarshal(frame, message); err != nil {
		return fmt.Errorf("cannot decode a message: %w", err)
	}
	return nil
}
