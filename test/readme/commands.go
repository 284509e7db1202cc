// Package readme runs the commands that README.md shows, in their order and unchanged, as a
// newcomer would type them: in a copy of the tree that nobody else sees, with directories, bridges
// and a port of its own.
package readme

import (
	"regexp"
	"slices"
	"strings"
)

// comment matches what follows a command.
var comment = regexp.MustCompile(`(^|\s+)#\s.*$`)

// fence begins and ends a code block.
const fence = "```"

// Commands returns the lines of all code blocks of a Markdown text that a user types: of those
// without a language, and those for the shell.
func Commands(markdown string) (commands []string) {
	for _, line := range codeIn(markdown, fence, fence+"sh") {
		if command := comment.ReplaceAllString(line, ""); command != "" {
			commands = append(commands, command)
		}
	}
	return commands
}

// codeIn returns the lines of code blocks that begin with one of some lines.
func codeIn(markdown string, beginnings ...string) (code []string) {
	begin := "" // of the block
	for line := range strings.Lines(markdown) {
		line = strings.TrimRight(line, "\n")
		switch {
		case !strings.HasPrefix(line, fence):
			if slices.Contains(beginnings, begin) {
				code = append(code, line)
			}
		case begin == "":
			begin = line
		default:
			begin = ""
		}
	}
	return code
}

// A handling says how to run commands with a beginning, other than to wait for success.
type handling struct {
	beginning string
	until     string // it goes on; a user interrupts it when it has printed this
	ready     string // it goes on until the end; the next commands may begin when this succeeds
	instead   string // runs in its place
}

// handlings are for the commands that do not end by themselves, or that cannot run within a test.
// All others run unchanged.
var handlings = []handling{
	{beginning: "make test", instead: "make -n test"}, // this test is part of it
	{beginning: "bin/albatrossd --tmpdir", ready: "bin/albatross-client info --tmpdir ~/albatross/run"},
	{beginning: "sudo bin/albatrossd", ready: "bin/albatross-client info"},
	{beginning: "albatross-tls-endpoint", ready: "albatross-client info -d localhost --ca cacert.pem --ca-key ca.key"},
	{beginning: "sudo bin/albatross-client console", until: "console 2"},
	{beginning: "albatross-client console", until: "console 2"},
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
