package main

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"albatross/runtime/durable"
	"albatross/sockets/certificate"
)

func contextCommand(out *printer, to *destination) *cobra.Command {
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
		RunE: func(*cobra.Command, []string) error { return listContexts(out) },
	}
	add := contextual("add", "Keep --destination, --ca, --ca-key and --server-ca under a name",
		func(name string) error { return addContext(to, name) })
	add.Example = "  albatross-client context add work -d host.example --ca=alice.pem --ca-key=alice.key --server-ca=cacert.pem"
	use := contextual("use", "Use a context for all commands to come", useContext)
	use.Example = "  albatross-client context use work && albatross-client ps"
	remove := contextual("remove", "Forget a context; its certificates and keys stay", removeContext, "rm")
	c.AddCommand(add, list, remove, use)
	return c
}

// contextual returns a command about the name of a context.
func contextual(word, short string, do func(name string) error, aliases ...string) *cobra.Command {
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

// addContext keeps the options of a destination, after checking that they are of use.
func addContext(d *destination, name string) error {
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

func listContexts(out *printer) error {
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
	if out.format == jsonFormat {
		return out.print(documentOf(list, same[contextObject]))
	}
	t := table{rows: [][]string{{"NAME", "CURRENT", "DESTINATION", "CA"}}, least: []int{3}}
	for _, o := range list {
		t.rows = append(t.rows, []string{o.Name, yesNo(o.Current), escape(o.Destination), escape(o.CA)})
	}
	if text := out.rows(mapped(list, func(o contextObject) string { return o.Name }), t); text != "" {
		return out.print(text)
	}
	return nil
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
