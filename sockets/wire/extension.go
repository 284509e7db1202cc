package wire

import "albatross/messages"

// An Extension is the contents of the extension 1.3.6.1.4.1.49836.42 of a certificate:
// the command that the certificate allows its holder.
type Extension struct {
	Version messages.Version // of its encoding
	Command messages.Command
}

// DecodeExtension reads the contents of the extension of a certificate.
func DecodeExtension(b []byte) (Extension, error) {
	d := newDecoder(b)
	x := d.extension()
	if err := d.finish("certificate extension"); err != nil {
		return Extension{}, err
	}
	return x, nil
}

// AppendExtension appends the contents of the extension for a command to dst, always in
// the current version.
func AppendExtension(dst []byte, c messages.Command) ([]byte, error) {
	e := newEncoder(messages.CurrentVersion)
	e.extension(c)
	if err := e.startWriting(dst); err != nil {
		return dst, err
	}
	e.extension(c)
	return e.out, nil
}

// Extension ::= SEQUENCE { version Int, Command }

func (d *decoder) extension() (x Extension) {
	d.seq("extension", func() {
		x.Version = d.protocol()
		x.Command = d.command()
	})
	return x
}

func (e *encoder) extension(c messages.Command) {
	e.seq(func() {
		e.protocol(messages.CurrentVersion)
		e.command(c)
	})
}
