package main

import (
	"testing"

	"albatross/test/man"
)

func TestManPages(t *testing.T) { man.OfCommand(t, new(app).root(), man.Commands) }
