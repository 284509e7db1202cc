package control

import (
	"fmt"
	"io"
	"time"

	"albatross/messages"
)

// version is a former version of a unikernel.
type version struct {
	Digest []byte          `cbor:"1,keyasint"`
	Memory int             `cbor:"2,keyasint"`
	Until  time.Time       `cbor:"3,keyasint"`
	Cause  messages.Public `cbor:"4,keyasint,omitempty"`
}

func appendHistory(dst []byte, list []messages.FormerVersion) (_ []byte, err error) {
	for _, v := range list {
		if dst, err = appendItem(dst, version{v.Digest[:], v.Memory, v.Until, v.Cause}); err != nil {
			return dst, err
		}
	}
	return append(dst, all...), nil
}

// ReadHistory reads the answer to a request for the history of a unikernel: a
// messages.SuccessHistory, or a messages.Failure. Errors are those of ReadAnswer.
func ReadHistory(r io.Reader) (messages.Payload, error) {
	list, failure, err := readList(r, maxList, MaxItem, readVersion)
	switch {
	case err != nil:
		return nil, err
	case failure != nil:
		return *failure, nil
	}
	return messages.SuccessHistory{List: list}, nil
}

func readVersion(b []byte) (m messages.FormerVersion, err error) {
	var v version
	if err := decMode.Unmarshal(b, &v); err != nil {
		return m, err
	}
	if copy(m.Digest[:], v.Digest) != len(m.Digest) || len(v.Digest) != len(m.Digest) {
		return m, fmt.Errorf("a digest of %d bytes is none", len(v.Digest))
	}
	m.Memory, m.Until, m.Cause = v.Memory, inUTC(v.Until), v.Cause
	return m, nil
}
