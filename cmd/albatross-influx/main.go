// Albatross-influx passes the statistics of unikernels on to InfluxDB, or to anything else
// that takes its line protocol over TCP. It asks the daemon as any other client, so it needs
// no privileges except membership in the daemon's group. Options, measurements and fields
// are those of the native program.
//
// # Reading the source
//
//	main.go    the command line
//	relay.go   both connections, and how they are made again
//	outbox.go  the bounded queue between them
package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"

	"github.com/spf13/cobra"

	"albatross/cmd/commandline"
	"albatross/messages"
	"albatross/runtime/activation"
	"albatross/sockets/influx"
)

// version is set when a release is built.
var version = "devel"

// exitUsage is for a wrong command line, as in albatross-client. The program retries
// after all other errors until a signal ends it, with success.
const exitUsage = 124

// options are the command line.
type options struct {
	influx     string
	tmpdir     string
	socket     string
	name       string
	noDropPath bool
	log        commandline.Logging
}

func main() { commandline.Main(command(), exitUsage) }

func command() *cobra.Command {
	var o options
	cmd := &cobra.Command{
		Use:   "albatross-influx --influx HOST[:PORT]",
		Short: "Pass the statistics of unikernels on to InfluxDB",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := commandline.CheckTexts(c.Flags()); err != nil {
				return err
			}
			log, err := o.log.Logger("albatross-influx")
			if err != nil {
				return err
			}
			defer activation.OnHangup(log, nil)()
			r, err := newRelay(o, log)
			if err != nil {
				return err
			}
			ctx, stop := commandline.UntilTold()
			defer stop()
			r.run(ctx)
			log.Info("Stopping", "cause", context.Cause(ctx))
			return nil
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&o.influx, "influx", "", "where to push the statistics to: HOST[:PORT], port "+influx.Port+" if none is given")
	flags.StringVarP(&o.name, "name", "n", messages.Name{}.String(), "the unikernel, or the path (a:b:), whose statistics are pushed")
	flags.BoolVar(&o.noDropPath, "no-drop-path", false, "push the name of a unikernel with its path")
	flags.StringVar(&o.tmpdir, "tmpdir", "/run/albatross", "where the daemon has its sockets")
	flags.StringVar(&o.socket, "socket", "", "ask the daemon at this socket")
	flags.Bool("drop-label", false, "push the name of a unikernel without its path, as without this option")
	cmd.MarkFlagsMutuallyExclusive("drop-label", "no-drop-path")
	o.log.Register(flags)
	commandline.Daemon(cmd, version)
	return cmd
}

// newRelay returns what a command line asks for.
func newRelay(o options, log *slog.Logger) (*relay, error) {
	if o.influx == "" {
		return nil, errors.New("cannot push statistics: tell where to by --influx HOST[:PORT]")
	}
	address, err := influx.Address(o.influx)
	if err != nil {
		return nil, fmt.Errorf("cannot use --influx %q: %w", o.influx, err)
	}
	name, err := messages.ParseName(o.name)
	if err != nil {
		return nil, fmt.Errorf("cannot use --name %q: %w", o.name, err)
	}
	socket := o.socket
	if socket == "" {
		socket = filepath.Join(o.tmpdir, "util", "stat.sock")
	}
	return &relay{
		socket:  socket,
		influx:  address,
		name:    name,
		full:    o.noDropPath,
		timing:  standard,
		outbox:  newOutbox(),
		losses:  losses{log: log, every: lossInterval},
		logging: log,
	}, nil
}
