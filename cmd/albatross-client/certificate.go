package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"albatross/messages"
	"albatross/sockets/certificate"
)

const certificateArgument = "CERT"

func certificateCommand(d *daemon, out *printer, inv inventory, up uploader, cons consoles, down downloader) *cobra.Command {
	var data string
	c := &cobra.Command{
		Use:   "certificate " + certificateArgument + " " + keyArgument,
		Short: "Give the command that a certificate says, to the endpoint at --destination",
		Long: `Give the command that a certificate says, to the endpoint at --destination. The certificate
was signed with 'sign', and KEY is the private key that was made with the request.`,
		Example: "  albatross-client certificate hello.pem hello.key --destination=host.example --server-ca=cacert.pem",
		Args:    positional(certificateArgument, keyArgument),
		RunE: func(c *cobra.Command, args []string) error {
			if err := parseFiles(map[string]string{certificateArgument: args[0], keyArgument: args[1]}); err != nil {
				return err
			}
			if d.destination.address == "" {
				return inputError("no destination provided")
			}
			name, command, err := showReady(d, args[0], args[1])
			if err != nil {
				return err
			}
			return giver{d, out, inv, up, cons, down}.give(c.Context(), name, command, data)
		},
	}
	c.Flags().Var(one("FILE", parseFile, &data), "data", "what goes into the block device, where the certificate is for 'set-block'")
	return c
}

// showReady makes the client use the certificate in a file, and returns its name and
// command.
func showReady(d *daemon, certPath, keyPath string) (name messages.Name, command messages.Command, err error) {
	chain, err := readChain(certPath)
	if err != nil {
		return name, nil, err
	}
	key, err := readKey(keyPath)
	if err != nil {
		return name, nil, err
	}
	if !certificate.Matches(chain[0], key) {
		return name, nil, inputError("Public key of certificate doesn't match private key")
	}
	command, _, present, err := certificate.Command(chain[0])
	switch {
	case err != nil:
		return name, nil, inputError(fmt.Sprintf("cannot use %s: %s", escape(certPath), escape(err.Error())))
	case !present:
		return name, nil, inputError(fmt.Sprintf("the certificate in %s says no command", escape(certPath)))
	}
	if common := chain[0].Subject.CommonName; !isPathItself(common) {
		if name.Label, err = messages.ParseLabel(common); err != nil {
			return name, nil, inputError(fmt.Sprintf("the certificate in %s is for '%s': %v", escape(certPath), escape(common), err))
		}
	}
	if err := mayTravel(name, command); err != nil {
		return name, nil, err
	}
	d.destination.made = &madeCertificate{chain, key}
	return name, command, nil
}

// A giver gives the command of a certificate, and does with the answer what that command does.
type giver struct {
	daemon     *daemon
	out        *printer
	inventory  inventory
	uploader   uploader
	consoles   consoles
	downloader downloader
}

// give gives a command and handles the answer as the command of the same name does.
func (g giver) give(ctx context.Context, name messages.Name, command messages.Command, data string) error {
	switch c := command.(type) {
	case messages.ConsoleSubscribe:
		return g.consoles.follow(ctx, name, c, &beginning{print: g.consoles.linePrinter(name)}, false)
	case messages.StatsSubscribe:
		return statsFollower{g.daemon, g.out, g.inventory}.followStats(ctx, name)
	case messages.UnikernelInfo:
		about, infos, err := g.daemon.answer(ctx, name, c)
		if err != nil {
			return err
		}
		return lister{g.daemon, g.out, g.inventory}.showInfos(ctx, name, about, infos, false)
	case messages.UnikernelGet:
		return g.downloader.get(ctx, name, c, &output{})
	case messages.BlockDump:
		return g.downloader.dumpBlock(ctx, name, c.Level, &output{})
	case messages.BlockSet:
		return g.giveWith(ctx, name, command, c.Compressed, data)
	case messages.UnikernelCreate:
		if len(c.Config.Image) == 0 {
			return g.giveWith(ctx, name, command, c.Config.Compressed, data)
		}
	}
	return g.daemon.ask(ctx, name, command)
}

// giveWith gives a command followed by a file, compressed if the command says so.
func (g giver) giveWith(ctx context.Context, name messages.Name, command messages.Command, compressed bool, path string) error {
	if path == "" {
		return inputError("the certificate says " + plainText(command) + ", which needs a file: give it with --data")
	}
	file, err := openContents(path)
	if err != nil {
		return err
	}
	defer file.Close()
	level := 0
	if compressed {
		level = remoteLevel
	}
	return g.uploader.upload(ctx, name, command, file, level)
}
