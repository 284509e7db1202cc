package control

import (
	"fmt"
	"io"
	"time"

	"albatross/messages"
)

// version is a former version of a unikernel, or behind all of them the one that there is now.
type version struct {
	Digest []byte          `cbor:"1,keyasint"`
	Memory int             `cbor:"2,keyasint"`
	Until  time.Time       `cbor:"3,keyasint,omitzero"`
	Cause  messages.Public `cbor:"4,keyasint,omitempty"`
	By     *asker          `cbor:"5,keyasint,omitempty"`
	Exit   *exit           `cbor:"6,keyasint,omitempty"`
	Now    bool            `cbor:"7,keyasint,omitempty"`
	Origin string          `cbor:"8,keyasint,omitempty"`
}

type asker struct {
	UID uint32 `cbor:"1,keyasint"`
	For string `cbor:"2,keyasint,omitempty"`
}

type exit struct {
	Code   *int `cbor:"2,keyasint,omitempty"`
	Signal *int `cbor:"3,keyasint,omitempty"`
	Memory bool `cbor:"9,keyasint,omitempty"`
}

func fromVersion(v messages.FormerVersion) version {
	item := version{Digest: v.Digest[:], Memory: v.Memory, Until: v.Until, Cause: v.Cause, Origin: string(v.Origin.Value)}
	if v.By.OK {
		item.By = &asker{v.By.Value.UID, v.By.Value.For}
	}
	if v.Exit.OK {
		item.Exit = &exit{Memory: v.Exit.Value.OutOfMemory}
		item.Exit.Code, item.Exit.Signal = fromExit(v.Exit.Value)
	}
	return item
}

func appendHistory(dst []byte, m messages.SuccessHistory) (_ []byte, err error) {
	for _, v := range m.List {
		if dst, err = appendItem(dst, fromVersion(v)); err != nil {
			return dst, err
		}
	}
	if m.Now.OK {
		now := fromVersion(m.Now.Value)
		now.Now = true
		if dst, err = appendItem(dst, now); err != nil {
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
	var m messages.SuccessHistory
	for _, v := range list {
		if v.now {
			m.Now = messages.Some(v.FormerVersion)
		} else {
			m.List = append(m.List, v.FormerVersion)
		}
	}
	return m, nil
}

// oneVersion is an item of a history.
type oneVersion struct {
	messages.FormerVersion
	now bool
}

func readVersion(b []byte) (m oneVersion, err error) {
	var v version
	if err := decMode.Unmarshal(b, &v); err != nil {
		return m, err
	}
	if copy(m.Digest[:], v.Digest) != len(m.Digest) || len(v.Digest) != len(m.Digest) {
		return m, fmt.Errorf("a digest of %d bytes is none", len(v.Digest))
	}
	m.Memory, m.Until, m.Cause, m.now = v.Memory, inUTC(v.Until), v.Cause, v.Now
	if m.Origin, err = toOrigin(v.Origin); err != nil {
		return m, err
	}
	if v.By != nil {
		m.By = messages.Some(messages.Asker{UID: v.By.UID, For: v.By.For})
	}
	if v.Exit != nil {
		m.Exit.OK = true
		m.Exit.Value, err = toExit(v.Exit.Code, v.Exit.Signal, v.Exit.Memory)
	}
	return m, err
}
