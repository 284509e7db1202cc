package messages

import "github.com/fxamacker/cbor/v2"

// Stored values are deterministic CBOR (RFC 8949 section 4.2). Strings are
// byte strings there: arguments and device names need not be UTF-8.
var (
	encMode = mustMode(cbor.EncOptions{
		Sort:   cbor.SortCoreDeterministic,
		String: cbor.StringToByteString,
		// Absent arguments differ from an empty list.
		NilContainers: cbor.NilContainerAsEmpty,
	}.EncMode())
	decMode = mustMode(cbor.DecOptions{
		DupMapKey:                cbor.DupMapKeyEnforcedAPF,
		ByteStringToString:       cbor.ByteStringToStringAllowed,
		FieldNameByteString:      cbor.FieldNameByteStringAllowed,
		ByteStringExpectedFormat: cbor.ByteStringExpectedFormatNone,
	}.DecMode())
)

func mustMode[M any](m M, err error) M {
	if err != nil {
		panic("internal error: cannot set up CBOR: " + err.Error())
	}
	return m
}

// Encode returns the stored form of v.
func Encode(v any) ([]byte, error) { return encMode.Marshal(v) }

// Decode decodes what Encode wrote into v, a pointer. It ignores unknown fields: a writer
// for which that is wrong must have raised the schema version.
func Decode(data []byte, v any) error { return decMode.Unmarshal(data, v) }
