package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"albatross/messages"
	"albatross/sockets/certificate"
)

// Contexts are destinations with the files to use for them, under names of their own. Each is a
// file in a directory that nobody else may read, since it leads to private keys; the file current
// has the name of the one that is used.

const (
	contextOption   = "context"
	contextVariable = "ALBATROSS_CONTEXT"
	contextArgument = "NAME"

	// localContext is the name for the daemon on this machine.
	localContext = "local"

	currentFile   = "current"
	contextSuffix = ".json"
)

// A savedContext is what the file of a context holds.
type savedContext struct {
	Destination string              `json:"destination"`
	CA          string              `json:"ca"`
	CAKey       string              `json:"ca_key"`
	ServerCA    string              `json:"server_ca"`
	KeyType     certificate.KeyType `json:"key_type"`
}

// registerContext registers the option that chooses a context.
func registerContext(root *cobra.Command) {
	root.PersistentFlags().String(contextOption, "", "ask the daemon of this context: see 'context'")
	completion := func(c *cobra.Command, _ []string, word string) ([]cobra.Completion, cobra.ShellCompDirective) {
		return completeContexts(c, nil, word)
	}
	if err := root.RegisterFlagCompletionFunc(contextOption, completion); err != nil {
		panic("internal error: " + err.Error()) // the option is not there
	}
}

// parseContext checks the name of a context, which is that of a file, too.
func parseContext(s string) (string, error) {
	label, err := messages.ParseLabel(s)
	if err != nil || strings.HasPrefix(s, ".") {
		return "", fmt.Errorf("invalid value '%s', expected letters, digits, '-' and '.'", escape(s))
	}
	return string(label), nil
}

// contextDir returns the directory of the contexts.
func contextDir() (string, error) {
	dir, err := os.UserConfigDir()
	if err != nil {
		return "", inputError("there is no place for contexts: " + escape(err.Error()))
	}
	return filepath.Join(dir, "albatross"), nil
}

// readPrivate reads a file in the directory of the contexts, which must be there for its owner only.
func readPrivate(file string) ([]byte, error) {
	dir, err := contextDir()
	if err != nil {
		return nil, err
	}
	path := filepath.Join(dir, file)
	for _, p := range []string{dir, path} {
		if err := private(p); err != nil {
			return nil, err
		}
	}
	text, err := readLimited(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, unreadable(path, err)
	}
	return text, err
}

// private refuses what others may read or change. It accepts what is missing.
func private(path string) error {
	stat, err := os.Stat(path)
	if err != nil {
		return nil
	}
	mode, should := stat.Mode().Perm(), "600"
	if stat.IsDir() {
		should = "700"
	}
	owner, known := stat.Sys().(*syscall.Stat_t)
	if mode&0o077 != 0 || known && int(owner.Uid) != os.Geteuid() {
		return inputError(fmt.Sprintf("cannot use %s: others may read or change it: make it your own, with mode %s", escape(path), should))
	}
	return nil
}

// writePrivate writes a file in the directory of the contexts.
func writePrivate(file string, text []byte, write func(string, []byte, fs.FileMode) error) error {
	dir, err := contextDir()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return inputError("cannot make a place for contexts: " + escape(err.Error()))
	}
	if err := private(dir); err != nil {
		return err
	}
	return write(filepath.Join(dir, file), text, 0o600)
}

// currentContext returns the name of the context that is in use.
func currentContext() (string, error) {
	if _, err := contextDir(); err != nil { // as of a service: there can be none
		return localContext, nil
	}
	text, err := readPrivate(currentFile)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return localContext, nil
	case err != nil:
		return "", err
	}
	return parseContext(strings.TrimSpace(string(text)))
}

func readContext(name string) (saved savedContext, err error) {
	text, err := readPrivate(name + contextSuffix)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return saved, inputError("there is no context " + name + didYouMean(name, "", contextNames()))
	case err != nil:
		return saved, err
	}
	if err := json.Unmarshal(text, &saved); err != nil || saved.Destination == "" {
		return saved, inputError("the context " + name + " is damaged: remove its file, and add it again")
	}
	return saved, nil
}

// contextNames returns the names of all contexts, in alphabetical order.
func contextNames() (names []string) {
	dir, err := contextDir()
	if err != nil {
		return nil
	}
	files, _ := os.ReadDir(dir) // sorted; none: there are none
	for _, f := range files {
		if name, ok := strings.CutSuffix(f.Name(), contextSuffix); ok {
			names = append(names, name)
		}
	}
	return names
}

// chooseContext takes the destination from the context to use: that of the option, else that of the
// environment, else the current one. An option that says whom to ask comes before the last two.
func (d *daemon) chooseContext(c *cobra.Command) error {
	flags := c.Flags()
	name, of := flags.Lookup(contextOption).Value.String(), "--"+contextOption
	others := []string{"destination", "socket", "csr"}
	switch {
	case isContextCommand(c):
		return nil
	case name != "" && slices.ContainsFunc(others, flags.Changed):
		return usageError("--context excludes --destination, --socket and --csr")
	case name == "" && slices.ContainsFunc(append(others, "tmpdir"), flags.Changed):
		return nil
	}
	if name == "" {
		name, of = os.Getenv(contextVariable), contextVariable
	}
	if name == "" {
		current, err := currentContext()
		if err != nil {
			return err
		}
		name, of = current, "context"
	}
	name, err := parseContext(name)
	if err != nil {
		return usageError(of + ": " + err.Error())
	}
	if name == localContext {
		return nil
	}
	saved, err := readContext(name)
	if err != nil {
		return err
	}
	return d.destination.take(flags, saved)
}

// isContextCommand reports whether a command is about contexts, and so must not need one.
func isContextCommand(c *cobra.Command) bool { return c.HasParent() && c.Parent().Name() == "context" }

// take uses a context, except for what was given.
func (d *destination) take(flags *pflag.FlagSet, saved savedContext) error {
	address, err := parseDestination(saved.Destination)
	if err != nil {
		return inputError("the context is damaged: " + err.Error())
	}
	d.address = address
	for _, file := range []struct {
		option, kept string
		to           *string
	}{{"ca", saved.CA, &d.ca}, {"ca-key", saved.CAKey, &d.caKey}, {"server-ca", saved.ServerCA, &d.serverCA}} {
		if !flags.Changed(file.option) {
			*file.to = file.kept
		}
	}
	if !flags.Changed("key-type") && saved.KeyType != "" {
		d.keyType = saved.KeyType
	}
	return nil
}
