// Package wirecmd is the command "albatross-client wire": it shows encoded
// messages as JSON.
package wirecmd

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"

	"albatross/sockets/wire"
	"albatross/sockets/wire/wirejson"
)

// An Output is printed for one line: the value and its canonical encoding, or an error.
type Output struct {
	Hex   string `json:"hex,omitempty"`
	Value any    `json:"value,omitempty"`
	Error string `json:"error,omitempty"`
}

// A decoder decodes a value, and encodes it again.
type decoder func(b []byte) (value any, again []byte, err error)

// kinds are the encodings that can be shown.
var kinds = map[string]decoder{
	"wire":           decodeWire,
	"state":          decodeState,
	"cert-extension": decodeExtension,
}

// Kinds returns the names of what can be shown.
func Kinds() []string { return []string{"wire", "state", "cert-extension"} }

// Run reads hex messages from in, one per line and of any length, and prints one line of
// JSON for each to out. An invalid line does not stop it.
func Run(in io.Reader, out io.Writer, kind string) error {
	decode, ok := kinds[kind]
	if !ok {
		return fmt.Errorf("cannot show messages of kind %q", kind)
	}
	lines := bufio.NewReader(in)
	w := bufio.NewWriter(out)
	printer := json.NewEncoder(w)
	printer.SetEscapeHTML(false)
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil && err != io.EOF {
			return fmt.Errorf("cannot read messages: %w", err)
		}
		if len(line) > 0 {
			if err := printer.Encode(show(bytes.TrimSpace(line), decode)); err != nil {
				return fmt.Errorf("cannot print message: %w", err)
			}
		}
		if err == io.EOF {
			return w.Flush()
		}
		if lines.Buffered() == 0 { // a user at a terminal waits for the answer
			if err := w.Flush(); err != nil {
				return fmt.Errorf("cannot print message: %w", err)
			}
		}
	}
}

func show(line []byte, decode decoder) Output {
	b := make([]byte, hex.DecodedLen(len(line)))
	if _, err := hex.Decode(b, line); err != nil {
		return Output{Error: fmt.Sprintf("cannot read hex: %v", err)}
	}
	value, again, err := decode(b)
	if err != nil {
		return Output{Error: err.Error()}
	}
	return Output{Hex: hex.EncodeToString(again), Value: value}
}

func decodeWire(b []byte) (any, []byte, error) {
	m, err := wire.Decode(b)
	if err != nil {
		return nil, nil, err
	}
	again, err := wire.Append(nil, m)
	return wirejson.Wire(m), again, err
}

func decodeState(b []byte) (any, []byte, error) {
	s, err := wire.DecodeState(b)
	if err != nil {
		return nil, nil, err
	}
	again, err := wire.AppendState(nil, s)
	return wirejson.State(s), again, err
}

func decodeExtension(b []byte) (any, []byte, error) {
	x, err := wire.DecodeExtension(b)
	if err != nil {
		return nil, nil, err
	}
	again, err := wire.AppendExtension(nil, x.Command)
	return wirejson.Extension(x), again, err
}
