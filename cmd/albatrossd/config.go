package main

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/BurntSushi/toml"
	"github.com/spf13/pflag"

	"albatross/cmd/commandline"
	"albatross/runtime/trust"
)

// notInConfig are the options that are no keys of a configuration file. Nobody is to have faults
// injected without seeing it on the command line.
var notInConfig = []string{"chaos", "check", "config", "help", "version"}

// maxConfig is the largest configuration file, in bytes.
const maxConfig = 1 << 20

// readConfig sets the options that a configuration file names, except those that the command line
// has set. Each key is the name of an option. check is called after each line, so that an error names
// the line that is wrong.
func readConfig(flags *pflag.FlagSet, path string, check func() error) error {
	text, err := configText(path)
	if err != nil {
		return fmt.Errorf("cannot read --config: %w", err)
	}
	c := config{flags: flags, check: check, lines: map[string]int{}}
	flags.Visit(func(f *pflag.Flag) { c.given = append(c.given, f.Name) })
	number := 0
	for line := range strings.Lines(text) {
		number++
		if err := c.line(number, line); err != nil {
			return fmt.Errorf("%s:%d: %w", path, number, err)
		}
	}
	return nil
}

// configText returns the contents of a file that nobody else can change.
func configText(path string) (string, error) {
	if err := trust.File(path); err != nil {
		return "", err
	}
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return "", err
	case !info.Mode().IsRegular() || info.Size() > maxConfig:
		return "", fmt.Errorf("%s is no regular file of at most %d bytes", path, maxConfig)
	}
	text, err := os.ReadFile(path)
	return string(text), err
}

// A config is what was read of a configuration file so far.
type config struct {
	flags *pflag.FlagSet
	check func() error
	given []string       // on the command line
	lines map[string]int // of the keys
}

// line reads a line, which is a document of its own: the library does not say on which line a key
// is. So a value cannot continue on the next line; no option needs that.
func (c *config) line(number int, line string) error {
	var values map[string]any
	if _, err := toml.Decode(line, &values); err != nil {
		return syntaxError(err)
	}
	for key, value := range values { // one at most
		if before, twice := c.lines[key]; twice {
			return fmt.Errorf("%s is set on line %d, too: remove one of them", key, before)
		}
		c.lines[key] = number
		if err := c.set(key, value); err != nil {
			return err
		}
	}
	return nil
}

func syntaxError(err error) error {
	var parse toml.ParseError
	if errors.As(err, &parse) && parse.Message != "" {
		err = errors.New(parse.Message)
	}
	return fmt.Errorf("cannot read this line: %w (a line is: key = value, with texts in quotes)", err)
}

func (c *config) set(key string, value any) error {
	if _, section := value.(map[string]any); section {
		return fmt.Errorf("there are no sections or dotted keys, such as %s: remove it", key)
	}
	f := c.flags.Lookup(key)
	if f == nil || slices.Contains(notInConfig, key) {
		return c.unknown(key)
	}
	text, err := configValue(value)
	if err == nil {
		if slices.Contains(c.given, key) { // the command line has set it
			return nil
		}
		err = c.flags.Set(key, text)
	}
	if err != nil {
		var invalid *pflag.InvalidValueError
		if errors.As(err, &invalid) {
			err = invalid.Unwrap()
		}
		return fmt.Errorf("cannot use %s: %w%s", key, err, example(f))
	}
	return c.check()
}

// configValue returns a value as on the command line.
func configValue(value any) (string, error) {
	switch v := value.(type) {
	case string:
		return v, nil
	case int64:
		return strconv.FormatInt(v, 10), nil
	case bool:
		return strconv.FormatBool(v), nil
	}
	return "", errors.New("the value is no text, number, true or false")
}

// example returns how an option is set, for a user who has set it in another way.
func example(f *pflag.Flag) string {
	switch f.Value.Type() {
	case "bool":
		return fmt.Sprintf(" (it is true or false, as in: %s = true)", f.Name)
	case "int", "count":
		return fmt.Sprintf(" (it is a number, as in: %s = %s)", f.Name, f.DefValue)
	case "duration":
		return fmt.Sprintf(" (it is a time, as in: %s = %q)", f.Name, f.DefValue)
	}
	return ""
}

func (c *config) unknown(key string) error {
	var keys []string
	c.flags.VisitAll(func(f *pflag.Flag) {
		if !slices.Contains(notInConfig, f.Name) {
			keys = append(keys, f.Name)
		}
	})
	if meant := commandline.Meant(key, keys); len(meant) > 0 {
		return fmt.Errorf("there is no key %q: did you mean %s?", key, strings.Join(meant, " or "))
	}
	return fmt.Errorf("there is no key %q: the keys are the options that albatrossd --help lists", key)
}
