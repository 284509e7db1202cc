// Package wirejson shows messages of the wire protocol as JSON, for people and for
// comparisons with other implementations.
//
// Bytes are lower-case hex, in fields whose name ends in _hex. A string that is not valid
// UTF-8 is {"$hex": "..."}. Numbers have up to 64 bits. Times are RFC 3339 in UTC with
// three decimals. What is absent is null.
//
// Fields that an older form of a message lacks are shown with their meaning there, so
// that the same contents in different forms look the same.
package wirejson

import (
	"encoding/hex"
	"time"
	"unicode/utf8"

	"albatross/messages"
	"albatross/sockets/wire"
)

// An object is a JSON object.
type object map[string]any

// Wire shows a message.
func Wire(m messages.Wire) any {
	return object{"header": header(m.Header), "payload": payload(m.Payload)}
}

// Extension shows the contents of the extension of a certificate.
func Extension(x wire.Extension) any {
	return object{"version": x.Version, "command": command(x.Command)}
}

// State shows a state file.
func State(s wire.State) any {
	return object{
		"unikernels": each(s.Unikernels, namedConfig),
		"policies":   each(s.Policies, namedPolicy),
	}
}

func header(h messages.Header) object {
	return object{"version": h.Version, "sequence": h.Sequence, "name": name(h.Name)}
}

func payload(p messages.Payload) object {
	var kind string
	var o object
	switch p := p.(type) {
	case messages.Command:
		kind, o = "command", command(p)
	case messages.Success:
		kind, o = "success", success(p)
	case messages.Failure:
		kind, o = "failure", object{"text": text(string(p.Text))}
	case messages.Data:
		kind, o = "data", data(p)
	}
	o["kind"] = kind
	return o
}

// each shows the elements of a list, which is never null.
func each[T any](l []T, show func(T) any) []any {
	shown := make([]any, len(l))
	for i, v := range l {
		shown[i] = show(v)
	}
	return shown
}

// option shows an optional value.
func option[T any](o messages.Option[T], show func(T) any) any {
	if !o.OK {
		return nil
	}
	return show(o.Value)
}

// same shows a value that is JSON already.
func same[T any](v T) any { return v }

// ints shows a list of numbers, which is never null.
func ints(l []int) any { return each(l, same[int]) }

// texts shows a list of strings, which is never null.
func texts(l []string) any { return each(l, text) }

func text(s string) any {
	if utf8.ValidString(s) {
		return s
	}
	return object{"$hex": hex.EncodeToString([]byte(s))}
}

func octets(b []byte) any { return hex.EncodeToString(b) }

func moment(t time.Time) any { return t.UTC().Format("2006-01-02T15:04:05.000Z") }

func name(n messages.Name) any {
	o := object{"path": each(n.Path.Labels(), same[messages.Label]), "label": nil}
	if n.Label != "" {
		o["label"] = n.Label
	}
	return o
}
