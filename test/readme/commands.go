// Package readme runs the commands that README.md shows, in their order and as they
// stand, as a newcomer would who types them: in a copy of the tree that nobody else
// sees, with directories, bridges and a port that are nobody else's either.
package readme

import (
	"regexp"
	"strings"
)

// comment is what stands behind a command.
var comment = regexp.MustCompile(`(^|\s+)#\s.*$`)

// Commands are the lines of all code blocks of a Markdown text that are to be typed.
func Commands(markdown string) (commands []string) {
	inside := false
	for line := range strings.Lines(markdown) {
		line = strings.TrimRight(line, "\n")
		if strings.HasPrefix(line, "```") {
			inside = !inside
			continue
		}
		if command := comment.ReplaceAllString(line, ""); inside && command != "" {
			commands = append(commands, command)
		}
	}
	return commands
}

// A handling is what is known of commands with a beginning, besides that they end
// with success.
type handling struct {
	beginning string
	until     string // it goes on; a user interrupts it when it has printed this
	ready     string // it goes on until the end; the others may begin when this succeeds
	instead   string // is run in its place
}

// handlings are those of the commands that do not end by themselves, or that cannot be
// run within a test. All others are run as they stand.
var handlings = []handling{
	{beginning: "make test", instead: "make -n test"}, // this is part of it
	{beginning: "bin/albatrossd --tmpdir", ready: "bin/albatross-client info --tmpdir ~/albatross/run"},
	{beginning: "sudo bin/albatrossd", ready: "bin/albatross-client info"},
	{beginning: "albatross-tls-endpoint", ready: "albatross-client info -d localhost --ca cacert.pem --ca-key ca.key"},
	{beginning: "sudo bin/albatross-client console", until: "\nconsole 2"},
	{beginning: "albatross-client console", until: "\nconsole 2"},
	{beginning: "albatross-client stats", until: "\nbridge service "},
	{beginning: "albatross-client events", until: "created"},
}

func handlingOf(command string) handling {
	for _, c := range handlings {
		if strings.HasPrefix(command, c.beginning) {
			return c
		}
	}
	return handling{}
}
