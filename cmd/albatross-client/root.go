package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"albatross/cmd/commandline"
	"albatross/messages"
)

// A program is one run of it: what it reads and prints, and the daemon that it asks.
type program struct {
	stdin  io.Reader
	out    *printer
	daemon *daemon
}

func newProgram(stdin io.Reader, stdout, stderr io.Writer) *program {
	out := newPrinter(stdout, stderr)
	return &program{stdin: stdin, out: out, daemon: &daemon{out: out}}
}

// run carries out the arguments.
func (p *program) run(ctx context.Context, args []string) exitCode {
	defer p.daemon.sessions.Close()
	root := p.root()
	root.SetArgs(args)
	command, err := root.ExecuteContextC(ctx)
	return p.report(command, err)
}

func (p *program) root() *cobra.Command {
	root := &cobra.Command{
		Use:           "albatross-client COMMAND",
		Short:         "Ask an albatross daemon about unikernels, policies and block devices",
		Long:          long,
		Version:       version,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          knownCommand,
		PersistentPreRunE: func(c *cobra.Command, _ []string) error {
			p.daemon.command = c.Name()
			if err := commandline.CheckTexts(c.Flags()); err != nil {
				return usageError(err.Error())
			}
			p.out.color = c.Flag(colorOption).Value.String()
			var err error
			if p.out.format, err = p.out.outputFormat(); err != nil {
				return err
			}
			if err := p.daemon.checkDestination(); err != nil {
				return err
			}
			return p.daemon.chooseContext(c)
		},
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	root.SetOut(p.out.stdout)
	root.SetErr(p.out.stderr)
	root.SetVersionTemplate(fmt.Sprintf("version {{.Version}} protocol version %d\n", messages.CurrentVersion))
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error { return usageError(optionText(err) + meantOption(c, err)) })
	p.out.register(root.PersistentFlags())
	p.daemon.register(root.PersistentFlags())
	commandline.RegisterHelp(root.PersistentFlags())
	registerContext(root)
	for _, g := range p.groups() {
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
func (p *program) groups() []group {
	d, out := p.daemon, p.out
	inv := inventory{d, out}
	complete, cons, down := completer{d, inv}, consoles{d, out, inv}, downloader{d, out, inv}
	up, watch := uploader{d, out}, watcher{d, out, inv}
	creates := creator{d, out, up}
	return []group{
		{"Unikernels", []*cobra.Command{
			infoCommand(d, out, inv, complete),
			createCommand(d, out, creates, watch),
			restartCommand(d, out, inv, complete, watch),
			stopCommand(d, complete),
			startCommand(d, complete, watch),
			renameCommand(d, complete),
			updateCommand(d, out, inv, complete, creates, watch),
			historyCommand(d, out, complete),
			rollbackCommand(d, complete, watch),
			destroyCommand(d, complete),
			getCommand(d, out, complete, down),
			applyCommand(p.stdin, d, out, inv, up, creates, watch),
			exportCommand(out, inv, complete),
			imageCommand(out),
		}},
		{"Block devices and networks", []*cobra.Command{
			blockCommand(inv),
			createBlockCommand(d, out, up),
			reserveBlockCommand(d, complete),
			setBlockCommand(d, complete, up),
			dumpBlockCommand(d, out, complete, down),
			destroyBlockCommand(d, complete),
			networkCommand(d, out, inv, complete),
			publishCommand(d, complete),
		}},
		{"Tenants", []*cobra.Command{
			policyCommand(d, out, inv),
			addPolicyCommand(d, out),
			removePolicyCommand(d),
		}},
		{"Looking on", []*cobra.Command{
			logsCommand(d, out, complete, cons),
			consoleCommand(complete, cons),
			inactiveConsolesCommand(d, inv),
			eventsCommand(d, out, inv),
			exitsCommand(d, out, inv),
			waitCommand(d, out, inv, complete),
			topCommand(d, out, inv),
			statsCommand(d, out, inv),
			statsAddCommand(d, out),
			statsRemoveCommand(d, out),
		}},
		{"From afar", []*cobra.Command{
			contextCommand(out, &d.destination),
			certificateCommand(d, out, inv, up, cons, down),
			generateCommand(out, &d.destination.keyType),
			signCommand(out),
			revokeCommand(out),
		}},
		{"Native albatross", []*cobra.Command{
			exportStateCommand(d, out, inv),
			inspectDumpCommand(d, out),
			extractDumpCommand(d, out),
			wireCommand(p.stdin, out),
		}},
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
