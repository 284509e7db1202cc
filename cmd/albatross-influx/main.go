// Albatross-influx passes the statistics of unikernels on to InfluxDB, or to
// whatever else takes its line protocol over TCP. It asks the daemon as any other
// client, so it needs no privileges but to be in the group that may. Options,
// measurements and fields are those of the native program.
//
// # Reading the source
//
//	main.go    the command line
//	lines.go   statistics as lines
//	relay.go   both connections, and how they are made again
//	outbox.go  what is bounded between them
package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/signal"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"albatross/cmd/commandline"
	"albatross/messages"
	"albatross/runtime/activation"
)

// version is set when a release is built.
var version = "devel"

// exitUsage is for a wrong command line, as in albatross-client. Whatever else
// goes wrong is tried again until a signal ends it, with success.
const exitUsage = 124

// influxPort is where Telegraf listens by default.
const influxPort = "8094"

// options are the command line.
type options struct {
	influx     string
	tmpdir     string
	socket     string
	name       string
	noDropPath bool
	verbose    bool
}

func main() {
	if err := command().Execute(); err != nil {
		fmt.Fprintf(activation.Stderr(slog.LevelError), "albatross-influx: %v\n", err)
		os.Exit(exitUsage)
	}
}

func command() *cobra.Command {
	var o options
	cmd := &cobra.Command{
		Use:           "albatross-influx --influx HOST[:PORT]",
		Short:         "Pass the statistics of unikernels on to InfluxDB",
		Args:          cobra.NoArgs,
		Version:       version,
		SilenceErrors: true,
		SilenceUsage:  true,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := commandline.CheckTexts(c.Flags()); err != nil {
				return err
			}
			log := logger(o)
			defer activation.OnHangup(log, nil)()
			r, err := newRelay(o, log)
			if err != nil {
				return err
			}
			ctx, stop := signal.NotifyContext(context.Background(), unix.SIGTERM, unix.SIGINT)
			defer stop()
			r.run(ctx)
			log.Info("Stopping", "cause", context.Cause(ctx))
			return nil
		},
	}
	cmd.SetVersionTemplate(fmt.Sprintf("version %s protocol version %d\n", version, messages.CurrentVersion))
	flags := cmd.Flags()
	flags.StringVar(&o.influx, "influx", "", "where to push the statistics to: HOST[:PORT], port "+influxPort+" if none is given")
	flags.StringVarP(&o.name, "name", "n", messages.Name{}.String(), "the unikernel, or the path (a:b:), whose statistics are pushed")
	flags.BoolVar(&o.noDropPath, "no-drop-path", false, "push the name of a unikernel with its path")
	flags.StringVar(&o.tmpdir, "tmpdir", "/run/albatross", "where the daemon has its sockets")
	flags.StringVar(&o.socket, "socket", "", "ask the daemon at this socket")
	flags.BoolVarP(&o.verbose, "verbose", "v", false, "log more")
	return cmd
}

func logger(o options) *slog.Logger {
	level := slog.LevelInfo
	if o.verbose {
		level = slog.LevelDebug
	}
	return slog.New(activation.NewLogHandler(&slog.HandlerOptions{Level: level}))
}

// newRelay is what a command line asks for.
func newRelay(o options, log *slog.Logger) (*relay, error) {
	influx, err := influxAddress(o.influx)
	if err != nil {
		return nil, err
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
		influx:  influx,
		name:    name,
		full:    o.noDropPath,
		timing:  standard,
		outbox:  newOutbox(),
		losses:  losses{log: log, every: lossInterval},
		logging: log,
	}, nil
}

// influxAddress reads HOST[:PORT]. An IPv6 address needs brackets only where a
// port follows it.
func influxAddress(s string) (string, error) {
	if s == "" {
		return "", errors.New("cannot push statistics: tell where to by --influx HOST[:PORT]")
	}
	bare := s
	if strings.HasPrefix(s, "[") && strings.HasSuffix(s, "]") {
		bare = s[1 : len(s)-1]
	}
	if a, err := netip.ParseAddr(bare); err == nil {
		return net.JoinHostPort(a.String(), influxPort), nil
	}
	if !strings.Contains(s, ":") {
		return net.JoinHostPort(s, influxPort), nil
	}
	host, port, err := net.SplitHostPort(s)
	if err == nil && (host == "" || port == "") {
		err = errors.New("neither host nor port may be empty")
	}
	if err != nil {
		return "", fmt.Errorf("cannot use --influx %q: %w", s, err)
	}
	return net.JoinHostPort(host, port), nil
}
