package main

import (
	"errors"
	"fmt"
	"math"
	"os"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"albatross/messages"
	"albatross/runtime/compress"
)

// An option is the value of an option on the command line: parse reads it, set stores it.
type option[T any] struct {
	kind  string // for the help
	start string // the default, for the help
	parse func(string) (T, error)
	set   func(T) error
}

func (o *option[T]) Type() string   { return o.kind }
func (o *option[T]) String() string { return o.start }

func (o *option[T]) Set(s string) error {
	v, err := o.parse(s)
	if err != nil {
		return err
	}
	return o.set(v)
}

var errRepeated = errors.New("cannot be repeated")

// one returns an option that may be given once, and replaces the default in to.
func one[T any](kind string, parse func(string) (T, error), to *T) pflag.Value {
	given := false
	return &option[T]{kind: kind, start: fmt.Sprint(*to), parse: parse, set: func(v T) error {
		if given {
			return errRepeated
		}
		given = true
		*to = v
		return nil
	}}
}

// choice returns an option that may be given once, one of a few words.
func choice[T ~string](parse func(string) (T, error), to *T) pflag.Value {
	return &option[T]{kind: "FORMAT", parse: parse, set: func(v T) error {
		if *to != "" {
			return errRepeated
		}
		*to = v
		return nil
	}}
}

// maybe returns an option that may be given once and has no default.
func maybe[T any](kind string, parse func(string) (T, error), to *messages.Option[T]) pflag.Value {
	return &option[T]{kind: kind, parse: parse, set: func(v T) error {
		if to.OK {
			return errRepeated
		}
		*to = messages.Some(v)
		return nil
	}}
}

// many returns an option that may be repeated.
func many[T any](kind string, parse func(string) (T, error), to *[]T) pflag.Value {
	return &option[T]{kind: kind, parse: parse, set: func(v T) error {
		*to = append(*to, v)
		return nil
	}}
}

// otherNames gives options additional names.
func otherNames(flags *pflag.FlagSet, own map[string]string) {
	flags.SetNormalizeFunc(func(_ *pflag.FlagSet, name string) pflag.NormalizedName {
		if n, ok := own[name]; ok {
			name = n
		}
		return pflag.NormalizedName(name)
	})
}

// optionText says what is wrong with an option, in native's words.
func optionText(err error) string {
	var unknown *pflag.NotExistError
	var empty *pflag.ValueRequiredError
	var invalid *pflag.InvalidValueError
	var syntax *pflag.InvalidSyntaxError
	switch {
	case errors.As(err, &unknown) && unknown.GetSpecifiedShortnames() != "":
		return fmt.Sprintf("unknown option '-%s'.", escape(unknown.GetSpecifiedName()))
	case errors.As(err, &unknown):
		return fmt.Sprintf("unknown option '--%s'.", escape(unknown.GetSpecifiedName()))
	case errors.As(err, &empty):
		return fmt.Sprintf("option '--%s' needs an argument", empty.GetFlag().Name)
	case errors.As(err, &invalid):
		return invalidText(invalid)
	case errors.As(err, &syntax):
		return fmt.Sprintf("option '%s' has no name", escape(syntax.GetSpecifiedFlag()))
	}
	return escape(err.Error())
}

// excludeEachOther makes a command refuse two of these options.
func excludeEachOther(c *cobra.Command, names ...string) {
	c.PreRunE = func(c *cobra.Command, _ []string) error {
		var given []string
		for _, name := range names {
			if c.Flags().Changed(name) {
				given = append(given, "--"+name)
			}
		}
		return exclusive(given)
	}
}

// exclusive returns the error for options of which only one can be given.
func exclusive(given []string) error {
	if len(given) > 1 {
		return usageError(strings.Join(given, " and ") + " exclude each other")
	}
	return nil
}

func invalidText(err *pflag.InvalidValueError) string {
	flag := err.GetFlag()
	switch {
	case errors.Is(err, errRepeated):
		return fmt.Sprintf("option '--%s' cannot be repeated", flag.Name)
	case flag.NoOptDefVal != "":
		return fmt.Sprintf("option '--%s' is a flag, it cannot take the argument '%s'", flag.Name, escape(err.GetValue()))
	}
	return fmt.Sprintf("option '--%s': %s", flag.Name, errors.Unwrap(err))
}

// atLeast requires the arguments of these names, and allows more.
func atLeast(names ...string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		switch missing := names[min(len(args), len(names)):]; len(missing) {
		case 0:
			return nil
		case 1:
			return usageError(fmt.Sprintf("required argument %s is missing", missing[0]))
		default:
			return usageError(fmt.Sprintf("required arguments %s are missing", strings.Join(missing, ", ")))
		}
	}
}

// positional requires exactly the arguments of these names.
func positional(names ...string) cobra.PositionalArgs {
	enough := atLeast(names...)
	return func(c *cobra.Command, args []string) error {
		if err := enough(c, args); err != nil {
			return err
		}
		if len(args) > len(names) {
			return usageError("too many arguments, don't know what to do with " + quoted(args[len(names):]))
		}
		return nil
	}
}

// atMost allows one argument of this name.
func atMost(name string) cobra.PositionalArgs {
	exactly := positional(name)
	return func(c *cobra.Command, args []string) error {
		if len(args) == 0 {
			return nil
		}
		return exactly(c, args)
	}
}

func quoted(args []string) string {
	list := make([]string, len(args))
	for i, arg := range args {
		list[i] = "'" + escape(arg) + "'"
	}
	return strings.Join(list, ", ")
}

// parseArgument parses a positional argument.
func parseArgument[T any](argument string, parse func(string) (T, error), value string) (T, error) {
	v, err := parse(value)
	if err != nil {
		return v, usageError(fmt.Sprintf("%s argument: %v", argument, err))
	}
	return v, nil
}

func parseText(s string) (string, error) { return s, nil }

// parseInterface checks the name of an interface of the host, such as a bridge.
func parseInterface(s string) (string, error) { return s, messages.CheckInterface(s) }

// parseInteger parses any number.
func parseInteger(s string) (int, error) { return parseFrom(messages.MinInt, messages.MaxInt, s) }

// parseNumber parses a number from 0 on. Native accepts negative ones as well, which the
// tender refuses, or nobody.
func parseNumber(s string) (int, error) { return parseFrom(0, messages.MaxInt, s) }

// parsePositive parses a number above 0.
func parsePositive(s string) (int, error) { return parseFrom(1, messages.MaxInt, s) }

// megabytes returns a parser of sizes in MB. A unit may follow the number: M, or G for 1,024 of them,
// also as MB and GB.
func megabytes(number func(string) (int, error)) func(string) (int, error) {
	return func(s string) (int, error) {
		unit := strings.TrimLeft(s, "+-0123456789")
		each := 1
		switch strings.ToUpper(unit) {
		case strings.ToUpper(s): // no number at all, in native's words
			return number(s)
		case "", "M", "MB":
		case "G", "GB":
			each = 1024
		default:
			return 0, fmt.Errorf("invalid value '%s', expected a number of MB, or one with a unit: 64M, 1G", escape(s))
		}
		n, err := number(strings.TrimSuffix(s, unit))
		switch {
		case err != nil:
			return 0, err
		case n > messages.MaxInt/each, n < messages.MinInt/each:
			return 0, fmt.Errorf("invalid value '%s': it is too large", escape(s))
		}
		return n * each, nil
	}
}

// parseRate parses a number of bytes per second, with K, M or G for 1,024 of them, and so on.
func parseRate(s string) (int64, error) {
	digits := strings.TrimRight(s, "KMGkmg")
	each, known := map[string]int64{"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}[strings.ToUpper(s[len(digits):])]
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || !known || n <= 0 || n > math.MaxInt64/each {
		return 0, fmt.Errorf("invalid value '%s', expected bytes per second, such as 500K or 1M", escape(s))
	}
	return n * each, nil
}

// parseLevel parses a compression level of zlib.
func parseLevel(s string) (int, error) { return parseFrom(compress.None, compress.Most, s) }

func parseFrom(low, high int, s string) (int, error) {
	n, err := strconv.Atoi(s)
	switch {
	case err != nil && !errors.Is(err, strconv.ErrRange):
		return 0, fmt.Errorf("invalid value '%s', expected an integer", escape(s))
	case err == nil && low <= n && n <= high:
		return n, nil
	case high == messages.MaxInt:
		return 0, fmt.Errorf("invalid value '%s', expected an integer from %d", escape(s), low)
	}
	return 0, fmt.Errorf("invalid value '%s', expected an integer from %d to %d", escape(s), low, high)
}

// parseFile refuses early what is no file.
func parseFile(path string) (string, error) {
	if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
		return path, fmt.Errorf("no '%s' file or directory", escape(path))
	}
	return path, nil
}

func parseBackend(s string) (messages.NetworkBackend, error) {
	for _, b := range []messages.NetworkBackend{messages.KernelNetwork, messages.UserNetwork} {
		if string(b) == s {
			return b, nil
		}
	}
	return "", fmt.Errorf("invalid value '%s', expected kernel or user", escape(s))
}
