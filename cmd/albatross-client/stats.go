package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"albatross/messages"
	"albatross/sockets/client"
)

func (a *app) statsCommand() *cobra.Command {
	var name messages.Name
	c := &cobra.Command{
		Use:   "stats",
		Short: "Follow what unikernels use, until interrupted",
		Long: `Follow what unikernels use, until interrupted: of CPUs and memory, and what passes
through their network interfaces, which is counted as seen from the host.

With --output=json every line is an object with the members name, rusage, memory and
interfaces. Their members are called as in the text. Times that have been used, and
runtime, are in microseconds, virtual-size is in bytes, and other memory in pages.`,
		Args: positional(),
		RunE: func(c *cobra.Command, _ []string) error {
			return a.followStats(c.Context(), name)
		},
	}
	registerStatsName(c.Flags(), &name, "only this one; with ':' at the end, all below that path")
	return c
}

func registerStatsName(flags *pflag.FlagSet, name *messages.Name, usage string) {
	flags.VarP(one("NAME", messages.ParseName, name), "name", "n", usage)
}

func (a *app) statsAddCommand() *cobra.Command {
	var name messages.Name
	var command messages.StatsAdd
	c := &cobra.Command{
		Use:   "stats-add PID",
		Short: "Have a process watched as if it were a unikernel",
		Long: `Have a process watched as if it were a unikernel, until it ends. The daemon watches
those that it runs by itself.`,
		Args: positional("PID"),
		RunE: func(c *cobra.Command, args []string) (err error) {
			if command.PID, err = parseArgument("PID", parseInteger, args[0]); err != nil {
				return err
			}
			return a.askStats(c.Context(), name, command)
		},
	}
	registerStatsName(c.Flags(), &name, "what it is called")
	c.Flags().Var(one("DEVICE", parseText, &command.VMMDev), "vmmdev", "of the virtual machine monitor; there is none on Linux")
	c.Flags().Var(many("BRIDGE:TAP", parseTap, &command.Taps), "bridge", "an interface of it, and what that is called; may be repeated")
	return c
}

func (a *app) statsRemoveCommand() *cobra.Command {
	var name messages.Name
	c := &cobra.Command{
		Use:   "stats-remove",
		Short: "End what stats-add has begun",
		Args:  positional(),
		RunE: func(c *cobra.Command, _ []string) error {
			return a.askStats(c.Context(), name, messages.StatsRemove{})
		},
	}
	registerStatsName(c.Flags(), &name, "what it is called")
	return c
}

func parseTap(s string) (messages.Tap, error) {
	device, tap, ok := strings.Cut(s, ":")
	if !ok || strings.Contains(tap, ":") {
		return messages.Tap{}, errors.New("broken, format is bridge:tap")
	}
	if err := messages.CheckText(device); err != nil {
		return messages.Tap{}, err
	}
	return messages.Tap{Device: device, Tap: tap}, messages.CheckInterface(tap)
}

// askStats is ask for the socket of statistics.
func (a *app) askStats(ctx context.Context, name messages.Name, command messages.Command) error {
	conn, answer, err := a.open(ctx, name, command)
	if err != nil {
		return err
	}
	return errors.Join(a.show(conn.Name(), answer), conn.Close())
}

// followStats prints statistics until it is interrupted. If the daemon ends the stream,
// that is an error, since something may be missing.
func (a *app) followStats(ctx context.Context, name messages.Name) error {
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt)
	defer stop()
	context.AfterFunc(ctx, stop) // see follow
	err := a.printStats(ctx, name)
	if ctx.Err() != nil {
		return nil
	}
	if errors.Is(err, client.ErrClosed) {
		a.message(warning, "the daemon has been stopped, or it is a native one and somebody else follows "+nameText(name))
	}
	return err
}

func (a *app) printStats(ctx context.Context, name messages.Name) error {
	conn, answer, err := a.open(ctx, name, messages.StatsSubscribe{})
	if err != nil {
		return err
	}
	defer conn.Close()
	if a.format == nativeFormat {
		if err := a.show(conn.Name(), answer); err != nil {
			return err
		}
	}
	a.warnIdle(ctx, name)
	for {
		relative, data, err := conn.Next(ctx)
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		stats, ok := data.(messages.DataStats)
		if !ok {
			return fmt.Errorf("%w (%T)", errOddAnswer, data)
		}
		if err := a.print(a.statsLine(inFull(conn.Name().Path, relative), stats)); err != nil {
			return err
		}
	}
}

func (a *app) statsLine(name messages.Name, stats messages.DataStats) string {
	if a.format == jsonFormat {
		return statsJSON(name, stats)
	}
	return statsText(name, stats)
}

// warnIdle warns if what is followed does not run: nothing follows until it does. Only
// the daemon on this machine is asked, which need not answer.
func (a *app) warnIdle(ctx context.Context, name messages.Name) {
	if a.destination.given() || a.socket != "" || name == (messages.Name{}) {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, completionTimeout)
	defer cancel()
	if _, infos, err := a.infos(ctx, name); err == nil && empty(infos) {
		a.warnNothing(name, "unikernel", true)
	}
}

// inFull returns the full name of one relative to a path.
func inFull(path messages.Path, relative messages.Name) messages.Name {
	return path.InFull(relative)
}
