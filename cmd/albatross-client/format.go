package main

import (
	"fmt"
	"os"
	"strings"

	"albatross/messages"
)

// A format is how answers are printed.
type format string

const (
	textFormat   format = "text"   // tables and words for people
	jsonFormat   format = "json"   // one document, or one in each line for streams: docs/json.md
	nativeFormat format = "native" // as the native client prints them, for scripts that parse that
)

// outputVariable is the environment variable with the default of --output.
const outputVariable = "ALBATROSS_OUTPUT"

var formats = []format{textFormat, jsonFormat, nativeFormat}

func parseFormat(s string) (format, error) {
	for _, f := range formats {
		if string(f) == s {
			return f, nil
		}
	}
	return "", fmt.Errorf("invalid value '%s', expected one of %s", escape(s), joined(formats, ", ", func(f format) string { return string(f) }))
}

// outputFormat returns the format to use: of the option, or else of the environment.
func (a *app) outputFormat() (format, error) {
	if a.format != "" {
		return a.format, nil
	}
	value := os.Getenv(outputVariable)
	if value == "" {
		return textFormat, nil
	}
	f, err := parseFormat(value)
	if err != nil {
		return "", usageError(outputVariable + ": " + err.Error())
	}
	return f, nil
}

// show prints the answer to a question about a name.
func (a *app) show(name messages.Name, answer messages.Success) error {
	text, known := a.answerText(name, answer)
	switch {
	case !known:
		return fmt.Errorf("%w (%T)", errOddAnswer, answer)
	case text == "":
		return nil
	}
	return a.print(text)
}

// answerText returns an answer in the wanted format, if this program knows it.
func (a *app) answerText(name messages.Name, answer messages.Success) (text string, known bool) {
	switch a.format {
	case nativeFormat:
		text, known = successText(answer, a.showsArguments())
		return fmt.Sprintf("host %s: %s", nameText(name), text), known
	case jsonFormat:
		return answerJSON(name, answer)
	}
	return a.plainText(name, answer)
}

// plainText returns an answer for people. It is empty where the answer goes without saying.
func (a *app) plainText(name messages.Name, answer messages.Success) (text string, known bool) {
	switch s := answer.(type) {
	case messages.SuccessEmpty, messages.SuccessDump, messages.SuccessImage:
		return "", true
	case messages.SuccessText:
		if name == (messages.Name{}) {
			return escape(string(s.Text)), true
		}
		return shortName(name) + ": " + escape(string(s.Text)), true
	case messages.SuccessPolicies:
		return a.rows(mapped(s.List, func(n messages.NamedPolicy) string { return shortName(n.Name) }), policyTable(s.List)), true
	case messages.SuccessConsoles:
		return joined(s.List, "\n", shortName), true
	case messages.SuccessBlocks:
		return a.rows(mapped(s.List, func(b messages.NamedBlock) string { return shortName(b.Name) }), blockTable(s.List)), true
	}
	return "", false
}

// say prints what was done, or found: about a name, or about nothing in particular.
func (a *app) say(name messages.Name, text string) error {
	if a.format != jsonFormat {
		return a.print(escape(text))
	}
	o := resultObject{Result: text}
	if name != (messages.Name{}) {
		o.Name = shortName(name)
	}
	return a.print(asciiJSON(o))
}

// rows returns a table whose rows have these names; only the names, if the user wants no more; and
// nothing without rows.
func (a *app) rows(names []string, t table) string {
	switch {
	case len(names) == 0:
		return ""
	case a.quiet:
		return strings.Join(names, "\n")
	}
	return t.fit(a.width())
}
