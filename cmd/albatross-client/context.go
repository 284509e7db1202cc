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
	"albatross/runtime/durable"
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

// A contextObject is one in a list of contexts.
type contextObject struct {
	Name        string              `json:"name"`
	Current     bool                `json:"current"`
	Destination string              `json:"destination"`
	CA          string              `json:"ca"`
	CAKey       string              `json:"ca_key"`
	ServerCA    string              `json:"server_ca"`
	KeyType     certificate.KeyType `json:"key_type"`
}

func (a *app) contextCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "context",
		Short: "Keep destinations, and the keys for them, under names",
		Long: `Keep destinations, and the keys for them, under names. The files of certificates and keys stay
where they are. --context=NAME uses one for a command, $` + contextVariable + ` for all in a shell, and
'use' for all. --destination, --socket, --csr and --tmpdir come before the last two, and
'` + localContext + `' is the daemon on this machine.`,
		Args: knownCommand,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	list := &cobra.Command{
		Use: "list", Aliases: []string{"ls"}, Short: "List the contexts", Args: positional(),
		RunE: func(*cobra.Command, []string) error { return a.listContexts() },
	}
	add := a.contextual("add", "Keep --destination, --ca, --ca-key and --server-ca under a name", a.addContext)
	add.Example = "  albatross-client context add work -d host.example --ca=alice.pem --ca-key=alice.key --server-ca=cacert.pem"
	use := a.contextual("use", "Use a context for all commands to come", useContext)
	use.Example = "  albatross-client context use work && albatross-client ps"
	remove := a.contextual("remove", "Forget a context; its certificates and keys stay", removeContext, "rm")
	c.AddCommand(add, list, remove, use)
	return c
}

// contextual returns a command about the name of a context.
func (a *app) contextual(word, short string, do func(name string) error, aliases ...string) *cobra.Command {
	c := &cobra.Command{
		Use: word + " " + contextArgument, Aliases: aliases, Short: short, Args: positional(contextArgument),
		RunE: func(_ *cobra.Command, args []string) error {
			name, err := parseArgument(contextArgument, parseContext, args[0])
			if err != nil {
				return err
			}
			return do(name)
		},
	}
	if word != "add" {
		c.ValidArgsFunction = completeContexts
	}
	return c
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

// addContext keeps the options of a destination, after checking that they are of use.
func (a *app) addContext(name string) error {
	d := &a.destination
	switch {
	case name == localContext:
		return usageError("'" + localContext + "' is the daemon on this machine: give another name")
	case d.address == "":
		return usageError("a context needs --destination")
	}
	if _, err := readAuthority(d.ca, d.caKey); err != nil {
		return err
	}
	if _, err := readPEM(d.serverCA, certificate.ParseCertificates); err != nil {
		return err
	}
	saved := savedContext{Destination: d.address, KeyType: d.keyType}
	for _, file := range []struct {
		given string
		to    *string
	}{{d.ca, &saved.CA}, {d.caKey, &saved.CAKey}, {d.serverCA, &saved.ServerCA}} {
		var err error
		if *file.to, err = filepath.Abs(file.given); err != nil {
			return err
		}
	}
	err := writePrivate(name+contextSuffix, []byte(asciiJSON(saved)+"\n"), durable.Create)
	if errors.Is(err, fs.ErrExist) {
		return inputError("there is a context " + name + ": remove it first, or give another name")
	}
	return err
}

// useContext makes a context the current one.
func useContext(name string) error {
	if name != localContext {
		if _, err := readContext(name); err != nil {
			return err
		}
	}
	return writePrivate(currentFile, []byte(name+"\n"), durable.Replace)
}

// removeContext forgets a context, also as the current one.
func removeContext(name string) error {
	if _, err := readContext(name); err != nil {
		return err
	}
	if current, err := currentContext(); err == nil && current == name {
		if err := useContext(localContext); err != nil {
			return err
		}
	}
	dir, err := contextDir()
	if err != nil {
		return err
	}
	return os.Remove(filepath.Join(dir, name+contextSuffix))
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

func completeContexts(_ *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return append(contextNames(), localContext), cobra.ShellCompDirectiveNoFileComp
}

func (a *app) listContexts() error {
	current, err := currentContext()
	if err != nil {
		return err
	}
	var list []contextObject
	for _, name := range contextNames() {
		saved, err := readContext(name)
		if err != nil {
			return err
		}
		list = append(list, contextObject{name, name == current, saved.Destination, saved.CA, saved.CAKey, saved.ServerCA, saved.KeyType})
	}
	if a.format == jsonFormat {
		return a.print(documentOf(list, same[contextObject]))
	}
	t := table{rows: [][]string{{"NAME", "CURRENT", "DESTINATION", "CA"}}, least: []int{3}}
	for _, o := range list {
		t.rows = append(t.rows, []string{o.Name, yesNo(o.Current), escape(o.Destination), escape(o.CA)})
	}
	if text := a.rows(mapped(list, func(o contextObject) string { return o.Name }), t); text != "" {
		return a.print(text)
	}
	return nil
}

// chooseContext takes the destination from the context to use: that of the option, else that of the
// environment, else the current one. An option that says whom to ask comes before the last two.
func (a *app) chooseContext(c *cobra.Command) error {
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
	return a.destination.take(flags, saved)
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
