package remote

import "albatross/messages"

// conductOf returns the properties of a command, in the form in which it was encoded.
func conductOf(command messages.Command) messages.Properties {
	conduct, _ := messages.PropertiesOf(command)
	switch c := command.(type) {
	case messages.UnikernelCreate:
		if c.Force {
			conduct.Word = "force-create"
		}
		if len(c.Config.Image) > 0 {
			conduct.Sends = messages.Nothing
		}
	case messages.BlockOldSet:
		if len(c.Data) > 0 { // as native does
			conduct.Sends = messages.Nothing
		}
	}
	return conduct
}
