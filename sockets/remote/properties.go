package remote

import "albatross/messages"

// propertiesOf returns the properties of a command, in the form in which it was encoded.
func propertiesOf(command messages.Command) messages.Properties {
	properties, _ := messages.PropertiesOf(command)
	switch c := command.(type) {
	case messages.UnikernelCreate:
		if c.Force {
			properties.Word = "force-create"
		}
		if len(c.Config.Image) > 0 {
			properties.Sends = messages.Nothing
		}
	case messages.UnikernelDeploy: // its image travels as that of a create does
		properties.Sends = propertiesOf(c.Create).Sends
	case messages.BlockOldSet:
		if len(c.Data) > 0 { // as native does
			properties.Sends = messages.Nothing
		}
	}
	return properties
}
