package messages

import (
	"errors"
	"fmt"
	"strings"
)

// maxInterface is the longest name of an interface, in bytes.
const maxInterface = 15

// CheckInterface returns why no interface, such as a bridge, can have a name, or why
// people could not recognise it. The texts are for clients.
func CheckInterface(name string) error {
	if err := checkInterface(name); err != nil {
		return fmt.Errorf("%q cannot be the name of an interface: %w", begin(name), err)
	}
	return nil
}

func checkInterface(name string) error {
	switch {
	case name == "":
		return errors.New("it is empty")
	case len(name) > maxInterface:
		return fmt.Errorf("it has more than %d bytes", maxInterface)
	case name == "." || name == "..":
		return errors.New("it is that of a directory")
	case strings.ContainsAny(name, "/:"):
		return errors.New("it contains '/' or ':'")
	case strings.ContainsFunc(name, isBlank):
		return errors.New("it contains a space or a control character")
	}
	return nil
}

// CheckText returns why people could not recognise a name.
func CheckText(name string) error {
	switch {
	case name == "":
		return errors.New("an empty name cannot be used")
	case strings.ContainsFunc(name, isBlank):
		return fmt.Errorf("the name %q cannot be used: it contains a space or a control character", begin(name))
	}
	return nil
}

// maxShown bounds how much of an invalid name is shown, in bytes.
const maxShown = 40

func begin(name string) string {
	if len(name) <= maxShown {
		return name
	}
	return name[:maxShown] + "..."
}

// isBlank reports whether a character is invisible: a space or a control character.
// Invalid UTF-8 is visible.
func isBlank(r rune) bool { return r <= ' ' || r >= 0x7f && r <= 0xa0 }
