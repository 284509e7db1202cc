package main

import (
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/pflag"
	"golang.org/x/term"

	"albatross/cmd/commandline"
	"albatross/messages"
)

// A printer prints answers to standard output, and messages and progress to standard error, in the
// form that the options say. It owns the options about that.
type printer struct {
	stdout, stderr io.Writer

	format    format
	color     string // auto, always or never
	quiet     bool
	more      int
	verbosity verbosity
}

func newPrinter(stdout, stderr io.Writer) *printer {
	return &printer{stdout: stdout, stderr: stderr}
}

func (p *printer) register(flags *pflag.FlagSet) {
	flags.CountVarP(&p.more, "verbose", "v", "tell more; repeat for even more")
	flags.BoolVarP(&p.quiet, "quiet", "q", false, "print no warnings and errors, and of listings only the names")
	flags.Var(choice(parseFormat, &p.format), "output", "text for people, json, or native, for scripts that know the native client (default text, or what $"+outputVariable+" says)")
	p.verbosity = warning
	flags.Var(one("LEVEL", parseVerbosity, &p.verbosity), "verbosity", "quiet, error, warning, info or debug")
	commandline.RegisterColor(flags)
	flags.Lookup(colorOption).Usage = "whether to use colours: auto, which is on a terminal, always or never"
}

const colorOption = "color"

// A verbosity says which messages are printed.
type verbosity int

const (
	quiet verbosity = iota
	failure
	warning
	info
	debug
)

var verbosities = []string{"quiet", "error", "warning", "info", "debug"}

func (v verbosity) String() string { return verbosities[v] }

func parseVerbosity(s string) (verbosity, error) {
	if s == "app" { // native's: only what was asked for
		return failure, nil
	}
	for i, name := range verbosities {
		if s == name {
			return verbosity(i), nil
		}
	}
	return 0, fmt.Errorf("invalid value '%s', expected one of %s", escape(s), strings.Join(verbosities, ", "))
}

// level returns the verbosity of all options together.
func (p *printer) level() verbosity {
	switch {
	case p.quiet:
		return quiet
	case p.more > 0:
		return min(max(p.verbosity, warning+verbosity(p.more)), debug)
	}
	return p.verbosity
}

// showsArguments reports whether to show the arguments of unikernels: they may be
// secrets, so only on request.
func (p *printer) showsArguments() bool { return p.level() >= info }

// print writes an answer.
func (p *printer) print(text string) error {
	if _, err := fmt.Fprintln(p.stdout, text); err != nil {
		return fmt.Errorf("cannot print the answer: %w", err)
	}
	return nil
}

// say prints what was done, or found: about a name, or about nothing in particular.
func (p *printer) say(name messages.Name, text string) error {
	if p.format != jsonFormat {
		return p.print(escape(text))
	}
	o := resultObject{Result: text}
	if name != (messages.Name{}) {
		o.Name = shortName(name)
	}
	return p.print(asciiJSON(o))
}

// show prints the answer to a question about a name.
func (p *printer) show(name messages.Name, answer messages.Success) error {
	text, known := p.answerText(name, answer)
	switch {
	case !known:
		return fmt.Errorf("%w (%T)", errOddAnswer, answer)
	case text == "":
		return nil
	}
	return p.print(text)
}

// rows returns a table whose rows have these names; only the names, if the user wants no more; and
// nothing without rows.
func (p *printer) rows(names []string, t table) string {
	switch {
	case len(names) == 0:
		return ""
	case p.quiet:
		return strings.Join(names, "\n")
	}
	return t.fit(p.width())
}

// message prints a message of a level, unless the user wants fewer.
func (p *printer) message(level verbosity, text string) {
	if p.level() >= level {
		prefix := level.String() + ": "
		if p.format == nativeFormat {
			prefix = "[" + strings.ToUpper(level.String()) + "] "
		}
		fmt.Fprintf(p.stderr, "albatross-client: %s%s\n", prefix, escape(text))
	}
}

// hint prints a line that belongs to a warning, unless it is empty or the user wants none.
func (p *printer) hint(text string) {
	if text != "" && p.level() >= warning {
		fmt.Fprintln(p.stderr, text)
	}
}

// of returns how a text says which name it is about.
func (p *printer) of(name messages.Name) string {
	if p.format == nativeFormat {
		return "host " + nameText(name) + ": "
	}
	if name == (messages.Name{}) {
		return ""
	}
	return shortName(name) + ": "
}

// forReader returns a text without the levels that only native's format has.
func (p *printer) forReader(text string) string {
	if p.format == nativeFormat {
		return text
	}
	return strings.TrimPrefix(strings.TrimPrefix(text, "[ERROR] "), "[WARNING] ")
}

// colours reports whether to use colours: if asked to, or on a terminal whose user has not asked
// for none (https://no-color.org).
func (p *printer) colours() bool {
	switch p.color {
	case "always":
		return true
	case "never":
		return false
	}
	return isTerminal(p.stdout) && os.Getenv("NO_COLOR") == ""
}

// width returns how many characters fit on a line of the terminal; 0: as many as one likes.
func (p *printer) width() int {
	width, _ := p.terminal()
	return width
}

// height returns how many lines the terminal has; 0: as many as one likes.
func (p *printer) height() int {
	_, height := p.terminal()
	return height
}

func (p *printer) terminal() (width, height int) {
	f, ok := p.stdout.(*os.File)
	if !ok {
		return 0, 0
	}
	width, height, err := term.GetSize(int(f.Fd()))
	if err != nil { // it is none
		return 0, 0
	}
	return width, height
}
