package main

import (
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"albatross/messages"
	"albatross/sockets/control"
	"albatross/sockets/wire"
)

// showMessage shows the encoded command, as the native client does for --socket=-. No
// daemon was asked, which native also treats as an error.
func (p *printer) showMessage(name messages.Name, command messages.Command) error {
	header := messages.Header{Version: messages.CurrentVersion, Name: name}
	message, err := wire.Append(nil, messages.Wire{Header: header, Payload: command})
	if err != nil {
		return err
	}
	if err := p.print("out:\n" + hexText(message)); err != nil {
		return err
	}
	return errNothingSent
}

// showRequest is showMessage for the control socket.
func (p *printer) showRequest(name messages.Name, command messages.Command) error {
	request, err := control.AppendRequest(nil, name, command)
	if err != nil {
		return err
	}
	if err := p.print("out:\n" + hexText(request)); err != nil {
		return err
	}
	return errNothingSent
}

// hexText shows bytes in lines of sixteen.
func hexText(b []byte) string {
	var text strings.Builder
	offset := 0
	for line := range slices.Chunk(b, 16) {
		var columns string
		for i := range line {
			columns += hex.EncodeToString(line[i : i+1])
			if i%2 == 1 {
				columns += " "
			}
			if i == 7 {
				columns += " "
			}
		}
		fmt.Fprintf(&text, "%06x  %-42s%s\n", offset, columns, ascii(line))
		offset += len(line)
	}
	return text.String()
}

func ascii(b []byte) string {
	shown := slices.Clone(b)
	for i, c := range shown {
		if c < ' ' || c > '~' {
			shown[i] = '.'
		}
	}
	return string(shown)
}
