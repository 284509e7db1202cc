package main

import (
	"fmt"
	"os"

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
func (p *printer) outputFormat() (format, error) {
	if p.format != "" {
		return p.format, nil
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

// answerText returns an answer in the wanted format, if this program knows it.
func (p *printer) answerText(name messages.Name, answer messages.Success) (text string, known bool) {
	switch p.format {
	case nativeFormat:
		text, known = successText(answer, p.showsArguments())
		return fmt.Sprintf("host %s: %s", nameText(name), text), known
	case jsonFormat:
		return answerJSON(name, answer)
	}
	return p.plainText(name, answer)
}

// plainText returns an answer for people. It is empty where the answer goes without saying.
func (p *printer) plainText(name messages.Name, answer messages.Success) (text string, known bool) {
	switch s := answer.(type) {
	case messages.SuccessEmpty, messages.SuccessDump, messages.SuccessImage:
		return "", true
	case messages.SuccessText:
		if name == (messages.Name{}) {
			return escape(string(s.Text)), true
		}
		return shortName(name) + ": " + escape(string(s.Text)), true
	case messages.SuccessPolicies:
		return p.rows(mapped(s.List, func(n messages.NamedPolicy) string { return shortName(n.Name) }), policyTable(s.List)), true
	case messages.SuccessConsoles:
		return joined(s.List, "\n", shortName), true
	case messages.SuccessBlocks:
		return p.rows(mapped(s.List, func(b messages.NamedBlock) string { return shortName(b.Name) }), blockTable(s.List)), true
	}
	return "", false
}
