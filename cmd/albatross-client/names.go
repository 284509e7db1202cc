package main

import (
	"errors"
	"strings"

	"albatross/messages"
	"albatross/sockets/builds"
	"albatross/sockets/client"
	"albatross/sockets/registry"
)

// shortName returns a name as people write it; the root is ":".
func shortName(name messages.Name) string {
	if name == (messages.Name{}) {
		return ":"
	}
	return strings.TrimPrefix(name.String(), ":")
}

// parseNames parses the names of unikernels.
func parseNames(args []string) (names []messages.Name, err error) {
	for _, arg := range args {
		name, err := parseArgument(nameArgument, messages.ParseName, arg)
		if err != nil {
			return nil, err
		}
		names = append(names, name)
	}
	return names, nil
}

// forEach goes on after refusals, and returns all of them.
func forEach(names []messages.Name, do func(n int, name messages.Name) error) error {
	var refusals severalErrors
	for n, name := range names {
		err := do(n, name)
		var refusal *client.Refusal
		var atOnce *endedError
		var web *builds.Error
		var images *registry.Error
		switch {
		case err == nil:
		case errors.As(err, &refusal), errors.As(err, &atOnce), errors.As(err, &web), errors.As(err, &images):
			refusals = append(refusals, err)
		default:
			return append(refusals, err)
		}
	}
	return refusals.orNil()
}
