package main

import (
	"testing"

	"albatross/test/man"
)

func TestManPages(t *testing.T) { man.OfCommand(t, newProgram(nil, nil, nil).root(), man.Commands) }
