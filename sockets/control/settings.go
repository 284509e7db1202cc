package control

import (
	"io"

	"albatross/messages"
)

type setting struct {
	Name    string `cbor:"1,keyasint"`
	AddName bool   `cbor:"9,keyasint"`
	Refused bool   `cbor:"10,keyasint,omitempty"`
	Deploy  deploy `cbor:"11,keyasint,omitzero"`
}

func appendSettings(dst []byte, list []messages.NamedSettings) (_ []byte, err error) {
	for _, s := range list {
		if dst, err = appendItem(dst, fromSettings(s)); err != nil {
			return dst, err
		}
	}
	return append(dst, all...), nil
}

func fromSettings(s messages.NamedSettings) setting {
	return setting{
		Name: s.Name.String(), AddName: s.AddName, Refused: s.NameRefused,
		Deploy: fromArguments(messages.Arguments{Networks: s.Networks, Publish: s.Publish, Health: s.Health, Origin: s.Origin}),
	}
}

// ReadSettings reads the answer to a request for settings: a messages.SuccessSettings, or
// a messages.Failure. Errors are those of ReadAnswer.
func ReadSettings(r io.Reader) (messages.Payload, error) {
	list, failure, err := readList(r, maxList, MaxEvent, readSetting)
	switch {
	case err != nil:
		return nil, err
	case failure != nil:
		return *failure, nil
	}
	return messages.SuccessSettings{List: list}, nil
}

func readSetting(b []byte) (n messages.NamedSettings, err error) {
	var s setting
	if err := decMode.Unmarshal(b, &s); err != nil {
		return n, err
	}
	n.AddName, n.NameRefused = s.AddName, s.Refused
	deploy, err := s.Deploy.message()
	if err != nil {
		return n, err
	}
	args := deploy.Create.Config.Arguments
	n.Networks, n.Publish, n.Health, n.Origin = args.Networks, args.Publish, args.Health, args.Origin
	n.Name, err = messages.ParseName(s.Name)
	return n, err
}
