package control

import (
	"fmt"
	"io"
	"time"

	"albatross/messages"
)

// The kinds of requests.
const (
	ends     = "ends"     // how unikernels ended
	settings = "settings" // settings of unikernels
	stream   = "events"   // what happens
	reserve  = "reserve-block"
)

type request struct {
	Version int        `cbor:"1,keyasint"`
	Request string     `cbor:"2,keyasint"`
	Name    string     `cbor:"3,keyasint,omitempty"`
	Since   *time.Time `cbor:"4,keyasint,omitempty"`
}

// Read reads one request, of at most max bytes, and nothing after it. It returns a
// messages.BadRequest for one that it cannot decode, so that the client gets a reason.
// What is no CBOR item is an error, after which nothing more can be read.
//
// It returns io.EOF if there is no request, and io.ErrUnexpectedEOF if it is cut off.
func Read(r io.Reader, max int) (messages.Wire, error) {
	item, err := readItem(r, max)
	if err != nil {
		return messages.Wire{}, err
	}
	m, err := decodeRequest(item)
	if err != nil {
		m = messages.Wire{Payload: messages.BadRequest{Why: "cannot understand the request: " + messages.PublicError(err)}}
	}
	return m, nil
}

func decodeRequest(item []byte) (m messages.Wire, err error) {
	r := request{Name: ":"}
	if err := decMode.Unmarshal(item, &r); err != nil {
		return m, err
	}
	if r.Version != Version {
		return m, fmt.Errorf("its version is %d, and only %d is known here", r.Version, Version)
	}
	if m.Header.Name, err = messages.ParseName(r.Name); err != nil {
		return m, err
	}
	switch r.Request {
	case ends:
		m.Payload = messages.EndList{}
	case settings:
		m.Payload = messages.SettingList{}
	case reserve:
		m.Payload = messages.BlockReserve{}
	case stream:
		subscribe := messages.EventsSubscribe{}
		if r.Since != nil {
			subscribe.Since = messages.Some(r.Since.UTC())
		}
		m.Payload = subscribe
	default:
		return m, fmt.Errorf("nothing known here is called %.40q", r.Request)
	}
	return m, nil
}

// AppendRequest appends a request about a name to dst.
func AppendRequest(dst []byte, name messages.Name, command messages.Command) ([]byte, error) {
	switch m := command.(type) {
	case messages.EndList:
		return appendItem(dst, request{Version: Version, Request: ends, Name: name.String()})
	case messages.SettingList:
		return appendItem(dst, request{Version: Version, Request: settings, Name: name.String()})
	case messages.BlockReserve:
		return appendItem(dst, request{Version: Version, Request: reserve, Name: name.String()})
	case messages.EventsSubscribe:
		r := request{Version: Version, Request: stream, Name: name.String()}
		if m.Since.OK {
			r.Since = &m.Since.Value
		}
		return appendItem(dst, r)
	}
	return dst, fmt.Errorf("internal error: a %T cannot be asked for on the control socket", command)
}
