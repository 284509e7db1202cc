package main

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"albatross/cmd/commandline"
	"albatross/messages"
	"albatross/sockets/client"
	"albatross/sockets/wire"
)

// An app is one run of the program: its input and output, and the common options.
type app struct {
	stdin          io.Reader
	stdout, stderr io.Writer

	socket, tmpdir, dbdir string
	destination           destination
	sessions              sessions // with its endpoint
	command               string   // the name of the command that runs
	verbosity             verbosity
	quiet                 bool
	more                  int
	format                format
	color                 string // auto, always or never
}

// run carries out the arguments.
func (a *app) run(ctx context.Context, args []string) exitCode {
	defer a.sessions.close()
	root := a.root()
	root.SetArgs(args)
	command, err := root.ExecuteContextC(ctx)
	return a.report(command, err)
}

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:           "albatross-client COMMAND",
		Short:         "Ask an albatross daemon about unikernels, policies and block devices",
		Long:          long,
		Version:       version,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          knownCommand,
		PersistentPreRunE: func(c *cobra.Command, _ []string) error {
			a.command = c.Name()
			if err := commandline.CheckTexts(c.Flags()); err != nil {
				return usageError(err.Error())
			}
			a.color = c.Flag(colorOption).Value.String()
			var err error
			if a.format, err = a.outputFormat(); err != nil {
				return err
			}
			if err := a.checkDestination(); err != nil {
				return err
			}
			return a.chooseContext(c)
		},
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	root.SetOut(a.stdout)
	root.SetErr(a.stderr)
	root.SetVersionTemplate(fmt.Sprintf("version {{.Version}} protocol version %d\n", messages.CurrentVersion))
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error { return usageError(optionText(err) + meantOption(c, err)) })
	a.registerCommon(root)
	a.registerDestination(root.PersistentFlags())
	root.PersistentFlags().String(contextOption, "", "ask the daemon of this context: see 'context'")
	completion := func(c *cobra.Command, _ []string, word string) ([]cobra.Completion, cobra.ShellCompDirective) {
		return completeContexts(c, nil, word)
	}
	if err := root.RegisterFlagCompletionFunc(contextOption, completion); err != nil {
		panic("internal error: " + err.Error()) // the option is not there
	}
	for _, g := range a.groups() {
		root.AddGroup(&cobra.Group{ID: g.title, Title: g.title + ":"})
		for _, c := range g.commands {
			c.GroupID = g.title
			root.AddCommand(c)
		}
	}
	addDefaults(root)
	return root
}

// A group is what is for one purpose.
type group struct {
	title    string
	commands []*cobra.Command
}

// groups returns all commands, as the help shows them.
func (a *app) groups() []group {
	return []group{
		{"Unikernels", []*cobra.Command{
			a.infoCommand(), a.createCommand(), a.restartCommand(), a.stopCommand(), a.startCommand(), a.renameCommand(), a.updateCommand(), a.historyCommand(), a.rollbackCommand(),
			a.destroyCommand(), a.getCommand(), a.applyCommand(), a.exportManifestCommand(), a.imageCommand(),
		}},
		{"Block devices and networks", []*cobra.Command{
			a.blockCommand(), a.createBlockCommand(), a.reserveBlockCommand(), a.setBlockCommand(), a.dumpBlockCommand(), a.destroyBlockCommand(),
			a.networkCommand(), a.publishCommand(),
		}},
		{"Tenants", []*cobra.Command{a.policyCommand(), a.addPolicyCommand(), a.removePolicyCommand()}},
		{"Looking on", []*cobra.Command{
			a.logsCommand(), a.consoleCommand(), a.inactiveConsolesCommand(), a.eventsCommand(), a.exitsCommand(), a.waitCommand(),
			a.topCommand(), a.statsCommand(), a.statsAddCommand(), a.statsRemoveCommand(),
		}},
		{"From afar", []*cobra.Command{a.contextCommand(), a.certificateCommand(), a.generateCommand(), a.signCommand(), a.revokeCommand()}},
		{"Native albatross", []*cobra.Command{a.exportCommand(), a.inspectDumpCommand(), a.extractDumpCommand(), a.wireCommand()}},
	}
}

// addDefaults adds cobra's own commands, with our errors.
func addDefaults(root *cobra.Command) {
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	for _, c := range root.Commands() {
		switch c.Name() {
		case "help":
			c.Run, c.RunE = nil, func(_ *cobra.Command, args []string) error { return help(root, args) }
		case "completion":
			c.Args, c.RunE = knownCommand, func(c *cobra.Command, _ []string) error { return c.Help() }
			for _, shell := range c.Commands() {
				shell.Args = positional()
			}
		}
	}
}

// help shows the help of a command.
func help(root *cobra.Command, args []string) error {
	c, rest, err := root.Find(args)
	if err != nil || len(rest) > 0 {
		return errors.Join(err, knownCommand(root, rest))
	}
	c.InitDefaultHelpFlag()
	return c.Help()
}

const long = `Ask an albatross daemon to create, show and destroy unikernels and block devices,
and to limit what may run.

The NAME of either is a label, such as hello, and may be below a path: org:web:hello.

A daemon on another machine is asked with --destination, through its endpoint and
with a certificate: --ca and --ca-key are what the asker may do, and sign a
certificate for a session, or for each question. Names are then relative to the path
of --ca. With --csr nobody is asked, but a request is written
that somebody else can sign.

Exit codes: 0 success, 115 the daemon has ended what was followed, for a newer
follower for instance, 116 our certificates lead to nobody in --server-ca, 117 the
daemon refused, or what it has started has ended at once, 118 a server with builds
or a registry is of no use, 119 the endpoint does not accept our certificate, 120 we do not accept
the endpoint's, 121 the conversation broke off, 122 no daemon there, 124 wrong command
line or file, 125 anything else, 130 interrupted.`

func (a *app) registerCommon(root *cobra.Command) {
	flags := root.PersistentFlags()
	flags.StringVar(&a.socket, "socket", "", "ask the daemon at this socket; - only shows what would be sent")
	flags.StringVar(&a.tmpdir, "tmpdir", "/run/albatross", "where the daemon has its sockets")
	flags.StringVar(&a.dbdir, "dbdir", "/var/lib/albatross", "where the daemon keeps its state")
	flags.CountVarP(&a.more, "verbose", "v", "tell more; repeat for even more")
	flags.BoolVarP(&a.quiet, "quiet", "q", false, "print no warnings and errors, and of listings only the names")
	flags.Var(choice(parseFormat, &a.format), "output", "text for people, json, or native, for scripts that know the native client (default text, or what $"+outputVariable+" says)")
	a.verbosity = warning
	commandline.RegisterColor(flags)
	flags.Lookup(colorOption).Usage = "whether to use colours: auto, which is on a terminal, always or never"
	commandline.RegisterHelp(flags)
	flags.Var(one("LEVEL", parseVerbosity, &a.verbosity), "verbosity", "quiet, error, warning, info or debug")
}

// knownCommand returns the error for an unknown command.
func knownCommand(root *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	var names []string
	for _, c := range root.Commands() {
		if c.IsAvailableCommand() {
			names = append(names, "'"+c.Name()+"'")
		}
	}
	last := len(names) - 1
	return usageError(fmt.Sprintf("unknown command '%s', must be one of %s or %s.",
		escape(args[0]), strings.Join(names[:last], ", "), names[last]) + meantCommand(root, args[0]))
}

// ask sends one command to the daemon and shows the answer.
func (a *app) ask(ctx context.Context, name messages.Name, command messages.Command) error {
	about, answer, err := a.answer(ctx, name, command)
	if err != nil {
		return err
	}
	return a.show(about, answer)
}

// list is ask for a list of what exists at and below a name; words describe that.
func (a *app) list(ctx context.Context, name messages.Name, words string, command messages.Command) error {
	about, answer, err := a.answer(ctx, name, command)
	if err != nil {
		return err
	}
	return a.showList(name, words, about, answer)
}

// showList prints the answer to a question about a name for a list.
func (a *app) showList(name messages.Name, words string, about messages.Name, answer messages.Success) error {
	if a.format != nativeFormat {
		answer = namedInFull(name, answer)
	}
	if err := a.show(about, answer); err != nil {
		return err
	}
	a.warnNothing(name, words, empty(answer))
	return nil
}

// namedInFull returns a list with names as they can be given to other commands: the daemon answers
// with those relative to the path that was asked for. They are in alphabetical order.
func namedInFull(asked messages.Name, answer messages.Success) messages.Success {
	switch s := answer.(type) {
	case messages.SuccessPolicies:
		listInFull(asked, s.List, func(n *messages.NamedPolicy) *messages.Name { return &n.Name })
	case messages.SuccessConsoles:
		listInFull(asked, s.List, func(n *messages.Name) *messages.Name { return n })
	case messages.SuccessBlocks:
		listInFull(asked, s.List, func(n *messages.NamedBlock) *messages.Name { return &n.Name })
	}
	return answer
}

// nameInFull gives the elements of a list their full names; name returns where an element has it.
func nameInFull[T any](asked messages.Name, list []T, name func(*T) *messages.Name) {
	if !asked.IsPath() {
		return
	}
	for i := range list {
		n := name(&list[i])
		*n = inFull(asked.Path, *n)
	}
}

// listInFull is nameInFull, and puts the list into alphabetical order.
func listInFull[T any](asked messages.Name, list []T, name func(*T) *messages.Name) {
	nameInFull(asked, list, name)
	slices.SortStableFunc(list, func(a, b T) int { return strings.Compare(shortName(*name(&a)), shortName(*name(&b))) })
}

// warnNothing warns a user whose question has an empty answer: as natively, that is no
// error.
func (a *app) warnNothing(name messages.Name, words string, nothing bool) {
	if !nothing || name == (messages.Name{}) {
		return
	}
	if name.IsPath() {
		a.message(warning, fmt.Sprintf("there is no %s at or below the path %s", words, name.Path))
	} else {
		a.message(warning, fmt.Sprintf("there is no %s %s", words, shortName(name)))
	}
	a.hint(strings.TrimPrefix(a.meant(words, name), "\n"))
}

// showsArguments reports whether to show the arguments of unikernels: they may be
// secrets, so only on request.
func (a *app) showsArguments() bool { return a.level() >= info }

// answer sends one command to the daemon and returns the answer, and the name that it is
// about: for a remote client, the path of its certificates precedes the name.
func (a *app) answer(ctx context.Context, name messages.Name, command messages.Command) (messages.Name, messages.Success, error) {
	conn, answer, err := a.open(ctx, name, command)
	if err != nil {
		return name, nil, err
	}
	return conn.Name(), answer, conn.Close()
}

// open connects to the daemon or endpoint for a command, and sends it. The caller closes
// the connection.
func (a *app) open(ctx context.Context, name messages.Name, command messages.Command) (*client.Conn, messages.Success, error) {
	if a.socket == "-" {
		return nil, nil, a.showMessage(name, command)
	}
	conn, err := a.connect(ctx, name, command)
	if err != nil {
		return nil, nil, err
	}
	answer, err := conn.Ask(ctx, name, command)
	if err != nil {
		conn.Close()
		return nil, nil, err
	}
	return conn, answer, nil
}

// connect connects to the recipient of a command: an endpoint, or the daemon's socket for
// it. The caller closes the connection.
func (a *app) connect(ctx context.Context, name messages.Name, command messages.Command) (*client.Conn, error) {
	switch {
	case a.destination.csr:
		return nil, a.writeRequest(name, command)
	case a.destination.address != "":
		return a.connectEndpoint(ctx, name, command)
	}
	properties, _ := messages.PropertiesOf(command)
	return a.connectSocket(ctx, properties.At)
}

// beside returns the path of another socket of the daemon on this machine, even if only
// that of commands was given.
func (a *app) beside(at messages.Endpoint) string {
	if a.socket != "" {
		return filepath.Join(filepath.Dir(a.socket), socketFile(at))
	}
	return a.socketPath(at)
}

// connectBeside is connectSocket, and connects to the daemon beside the socket that was given, if
// one was.
func (a *app) connectBeside(ctx context.Context, at messages.Endpoint) (*client.Conn, error) {
	if a.destination.given() {
		return a.connectSocket(ctx, at)
	}
	return client.Dial(ctx, a.beside(at))
}

// errNoRequest is about a command that no certificate can contain.
const errNoRequest = inputError("--csr cannot write a request for this: a certificate cannot say it")

// socketPath returns the path of a socket below the temporary directory of the daemon.
func (a *app) socketPath(at messages.Endpoint) string {
	return filepath.Join(a.tmpdir, "util", socketFile(at))
}

func socketFile(at messages.Endpoint) string { return string(at) + ".sock" }

// connectSocket connects to a socket of the daemon: on this machine, or in a session.
func (a *app) connectSocket(ctx context.Context, at messages.Endpoint) (*client.Conn, error) {
	switch {
	case a.destination.csr:
		return nil, errNoRequest
	case a.destination.address != "":
		return a.connectSession(ctx, at)
	}
	path := a.socket
	if path == "" {
		path = a.socketPath(at)
	}
	a.message(info, "connecting to "+path)
	return client.Dial(ctx, path)
}

// showMessage shows the encoded command, as the native client does for --socket=-. No
// daemon was asked, which native also treats as an error.
func (a *app) showMessage(name messages.Name, command messages.Command) error {
	header := messages.Header{Version: messages.CurrentVersion, Name: name}
	message, err := wire.Append(nil, messages.Wire{Header: header, Payload: command})
	if err != nil {
		return err
	}
	if err := a.print("out:\n" + hexText(message)); err != nil {
		return err
	}
	return errNothingSent
}

// hexText shows bytes in lines of sixteen.
func hexText(b []byte) string {
	var text strings.Builder
	offset := 0
	for line := range slices.Chunk(b, 16) {
		var columns string
		for i := range line {
			columns += hex.EncodeToString(line[i : i+1])
			if i%2 == 1 {
				columns += " "
			}
			if i == 7 {
				columns += " "
			}
		}
		fmt.Fprintf(&text, "%06x  %-42s%s\n", offset, columns, ascii(line))
		offset += len(line)
	}
	return text.String()
}

func ascii(b []byte) string {
	shown := slices.Clone(b)
	for i, c := range shown {
		if c < ' ' || c > '~' {
			shown[i] = '.'
		}
	}
	return string(shown)
}

// print writes an answer.
func (a *app) print(text string) error {
	if _, err := fmt.Fprintln(a.stdout, text); err != nil {
		return fmt.Errorf("cannot print the answer: %w", err)
	}
	return nil
}
