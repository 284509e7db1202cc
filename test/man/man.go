// Package man makes the manual pages of our programs from what their --help shows, and checks them.
// Tests of the programs call it: so no program has the libraries for that in it, and a page that
// would be wrong fails a test. With the environment variable ALBATROSS_MAN, as in `make man`, the
// pages are written to that directory; otherwise to one that the test removes.
package man

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/cpuguy83/go-md2man/v2/md2man"
	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
	"github.com/spf13/pflag"
	"github.com/stretchr/testify/require"
)

// The sections of the manual.
const (
	Commands = "1"
	Daemons  = "8"
)

const manual = "Albatross"

// directory returns where the pages are written.
func directory(t *testing.T) string {
	dir := os.Getenv("ALBATROSS_MAN")
	if dir == "" {
		return t.TempDir()
	}
	require.NoError(t, os.MkdirAll(dir, 0o755))
	return dir
}

// OfCommand writes a page for a command, and one for each command below it. It changes the texts of
// these commands.
func OfCommand(t *testing.T, root *cobra.Command, section string) {
	t.Helper()
	dir := directory(t)
	var shown []page
	for _, c := range available(root) {
		shown = append(shown, pageOf(c))
	}
	for _, c := range available(root) {
		markdown(c)
	}
	root.DisableAutoGenTag = true
	header := &doc.GenManHeader{Section: section, Manual: manual, Source: root.Name()}
	require.NoError(t, doc.GenManTree(root, header, dir))
	for _, p := range shown {
		p.check(t, filepath.Join(dir, p.name+"."+section))
	}
}

// available returns a command and all commands below it that the help shows.
func available(c *cobra.Command) []*cobra.Command {
	c.InitDefaultHelpCmd()
	c.InitDefaultHelpFlag()
	list := []*cobra.Command{c}
	for _, below := range c.Commands() {
		if below.IsAvailableCommand() && !below.IsAdditionalHelpTopicCommand() {
			list = append(list, available(below)...)
		}
	}
	return list
}

// markdown makes the texts of a command those that the library expects. It reads them as Markdown,
// in which they would lose characters.
func markdown(c *cobra.Command) {
	c.Short, c.Long = escape(c.Short), escape(c.Long)
	c.Use = c.Name() + escape(strings.TrimPrefix(c.Use, c.Name()))
	c.LocalNonPersistentFlags().VisitAll(markdownFlag)
	if !c.HasParent() {
		c.PersistentFlags().VisitAll(markdownFlag)
	}
}

func markdownFlag(f *pflag.Flag) {
	kind, usage := pflag.UnquoteUsage(f)
	f.Usage = escape(usage)
	if f.DefValue == "" && f.Value.Type() != "string" {
		f.DefValue = escape(kind) // where there is no default, the library leaves nothing behind the =
	}
}

// special are the characters that mean something in Markdown within a line.
var special = regexp.MustCompile("[\\\\`*_{}\\[\\]<>&~]")

func escape(text string) string {
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		if !strings.HasPrefix(line, "\t") && !strings.HasPrefix(line, "    ") { // those are kept as they are
			lines[i] = special.ReplaceAllString(line, `\$0`)
		}
	}
	return strings.Join(lines, "\n")
}

// OfText writes the page of a program whose help is one text: the first line is the usage, a
// sentence follows, and indented lines are kept as they are.
func OfText(t *testing.T, name, section, help string) {
	t.Helper()
	usage, rest, found := strings.Cut(strings.TrimPrefix(help, "usage: "), "\n\n")
	require.True(t, found, "%s: a usage, and what it does", name)
	summary, _, found := strings.Cut(oneLine(rest), ". ")
	require.True(t, found, "%s: a sentence that says what it does", name)
	var text strings.Builder
	fmt.Fprintf(&text, "%% %q %q %q %q %q\n", strings.ToUpper(name), section, "", name, manual)
	fmt.Fprintf(&text, "# NAME\n%s \\- %s\n\n# SYNOPSIS\n**%s**\n\n# DESCRIPTION\n", name, escape(strings.ToLower(summary[:1])+summary[1:]), escape(usage))
	for part := range strings.SplitSeq(strings.TrimSpace(rest), "\n\n") {
		if strings.HasPrefix(part, " ") || strings.Contains(part, "\n  ") {
			fmt.Fprintf(&text, "```\n%s\n```\n\n", part)
		} else {
			text.WriteString(escape(part) + "\n\n")
		}
	}
	path := filepath.Join(directory(t), name+"."+section)
	require.NoError(t, os.WriteFile(path, md2man.Render([]byte(text.String())), 0o644))
	page{name: name, says: []string{usage, rest}}.check(t, path)
}

// A page is what a manual page must contain.
type page struct {
	name string
	says []string
}

// pageOf returns what the help of a command says.
func pageOf(c *cobra.Command) page {
	p := page{name: strings.ReplaceAll(c.CommandPath(), " ", "-"), says: []string{c.Short, c.Long, c.UseLine(), c.Example}}
	see := func(f *pflag.Flag) {
		if !f.Hidden && f.Deprecated == "" {
			_, usage := pflag.UnquoteUsage(f)
			p.says = append(p.says, "--"+f.Name, usage)
		}
	}
	c.NonInheritedFlags().VisitAll(see)
	c.InheritedFlags().VisitAll(see)
	return p
}

// requests matches the requests of a page to the formatter, and widthless what takes no room in it.
var (
	requests  = regexp.MustCompile(`(?m)^\.([A-Z]{2}|nf|fi|sp|br)\b`)
	widthless = regexp.MustCompile(`\\f[BIRP]|\\&`)
)

// check reads a page as a formatter does, and compares it with what it must say.
func (p page) check(t *testing.T, path string) {
	t.Helper()
	source, err := os.ReadFile(path)
	require.NoError(t, err, "each command has a page")
	require.Regexp(t, `(?m)^\.TH `, string(source))
	for _, section := range []string{"NAME", "SYNOPSIS", "DESCRIPTION"} {
		require.Regexp(t, `(?m)^\.SH "?`+section, string(source), path)
	}
	require.NotContains(t, string(source), "\n'", "%s: a request that nobody meant", path)
	text := widthless.ReplaceAllString(requests.ReplaceAllString(string(source), " "), "")
	text = oneLine(strings.NewReplacer(`\-`, "-", `\[aq]`, "'", `\(aq`, "'", `\[dq]`, `"`, `\\`, `\`, `\[rs]`, `\`, `\[ga]`, "`", `\(ga`, "`").Replace(text))
	for _, says := range p.says {
		require.Contains(t, text, oneLine(strings.ReplaceAll(says, heading, "")), path)
	}
}

// heading is in the texts of the library's own commands, which are Markdown.
const heading = "#### "

// oneLine returns the words of a text.
func oneLine(text string) string { return strings.Join(strings.Fields(text), " ") }
