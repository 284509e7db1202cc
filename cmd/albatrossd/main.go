// Albatrossd runs MirageOS unikernels: it starts each with a tender, keeps their
// consoles, and takes over those that a former albatrossd has started.
package main

import (
	"fmt"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"albatross/cmd/commandline"
	"albatross/messages"
	"albatross/runtime/cgroup"
	"albatross/runtime/tender"
	"albatross/sockets/influx"
	"albatross/sockets/metrics"
)

// version is set when a release is built.
var version = "devel"

// options are the command line.
type options struct {
	config string // the file with the other options; empty: none
	verify bool

	tmpdir  string
	dbdir   string
	tender  string
	cgroup  string
	metrics string
	grace   time.Duration

	maxSubscribers int
	versions       int
	interval       time.Duration
	stopUnikernels bool
	noKeeper       bool
	chaos          string // the file with the faults to inject; empty: none

	// Native's options.
	inherits   bool   // its sockets come from systemd
	noDropPath bool   // from the names of unikernels
	influx     string // where to push what the daemon itself uses
	zvols      string // a path that may use ZFS volumes
	log        commandline.Logging
}

func main() { commandline.Main(command(), 1) }

// check refuses impossible options.
func (o options) check(flags *pflag.FlagSet) error {
	if err := commandline.CheckTexts(flags, "cgroup"); err != nil {
		return err
	}
	if o.cgroup != "" {
		if err := cgroup.CheckParent(o.cgroup); err != nil {
			return fmt.Errorf("cannot use --cgroup: %w", err)
		}
	}
	if _, err := tender.ParsePolicy(o.tender); err != nil {
		return fmt.Errorf("cannot use --tender: %w", err)
	}
	if o.metrics != "" {
		if err := metrics.Check(o.metrics); err != nil {
			return fmt.Errorf("cannot use --metrics: %w", err)
		}
	}
	if o.influx != "" {
		if _, err := influx.Address(o.influx); err != nil {
			return fmt.Errorf("cannot use --influx %q: %w", o.influx, err)
		}
	}
	switch {
	case o.grace < 0:
		return fmt.Errorf("cannot use --grace %v: it is negative", o.grace)
	case o.interval <= 0:
		return fmt.Errorf("cannot use --interval %v: statistics need a time between them", o.interval)
	case o.maxSubscribers < 1:
		return fmt.Errorf("cannot use --max-subscribers %d: 1 is the least", o.maxSubscribers)
	case o.versions < 0 || o.versions > messages.MaxPast:
		return fmt.Errorf("cannot use --versions %d: 0 to %d are possible", o.versions, messages.MaxPast)
	}
	return nil
}

// complete adds the options of the configuration file to those of the command line, and checks all.
func (o *options) complete(flags *pflag.FlagSet) error {
	check := func() error { return o.check(flags) }
	if err := check(); err != nil {
		return err
	}
	if o.config != "" {
		if err := readConfig(flags, o.config, check); err != nil {
			return err
		}
	}
	return o.absolute()
}

// absolute makes directories absolute, since tenders run in another one.
func (o *options) absolute() (err error) {
	if o.tmpdir, err = filepath.Abs(o.tmpdir); err != nil {
		return fmt.Errorf("cannot find the directory of --tmpdir: %w", err)
	}
	if o.dbdir, err = filepath.Abs(o.dbdir); err != nil {
		return fmt.Errorf("cannot find the directory of --dbdir: %w", err)
	}
	return nil
}

func command() *cobra.Command {
	var o options
	cmd := &cobra.Command{
		Use:   "albatrossd",
		Short: "Run MirageOS unikernels",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := o.complete(c.Flags()); err != nil {
				return err
			}
			ctx, stop := commandline.UntilTold()
			defer stop()
			if o.verify {
				return verify(ctx, o, c.OutOrStdout())
			}
			return run(ctx, o)
		},
	}
	cmd.Flags().AddFlagSet(o.register())
	commandline.Daemon(cmd, version)
	return cmd
}

// register returns the options.
func (o *options) register() *pflag.FlagSet {
	flags := pflag.NewFlagSet("albatrossd", pflag.ContinueOnError)
	flags.StringVar(&o.config, "config", "", "read options from this file, as NAME = VALUE; those of the command line override it. The unit for systemd names /etc/albatross/albatrossd.toml; without this option no file is read")
	flags.BoolVar(&o.verify, "check", false, "do not start: list what the daemon would find, and fail if it would not start")
	flags.StringVar(&o.tmpdir, "tmpdir", "/run/albatross", "directory of the sockets and consoles")
	flags.StringVar(&o.dbdir, "dbdir", "/var/lib/albatross", "directory of the database, images and block devices")
	flags.StringVar(&o.tender, "tender", tender.Auto.String(), "which tenders to use: auto, builtin or installed")
	flags.StringVar(&o.cgroup, "cgroup", "auto", "below which cgroup unikernels have theirs, which limits memory and CPUs: auto is one named after --dbdir; empty: none")
	flags.DurationVar(&o.grace, "grace", 10*time.Second, "how long a unikernel may take to end before it is killed")
	flags.IntVar(&o.maxSubscribers, "max-subscribers", 5, "how many clients may follow one console")
	flags.IntVar(&o.versions, "versions", messages.DefaultPast, "how many former versions of a unikernel stay on record, with their images, for 'albatross-client rollback'")
	flags.DurationVar(&o.interval, "interval", 10*time.Second, "how often statistics are told to those who follow them")
	flags.StringVar(&o.metrics, "metrics", "", "tell Prometheus at http://ADDRESS/metrics what runs: a port of 127.0.0.1, or HOST:PORT, where whoever can reach it can read it")
	flags.BoolVar(&o.stopUnikernels, "stop-unikernels", false, "stop the unikernels when the daemon is stopped by a signal; they are started again with it")
	flags.BoolVar(&o.noKeeper, "no-keeper", false, "do without albatross-keeper, which remembers how unikernels end, and keeps what they print, while the daemon does not run")
	flags.StringVar(&o.chaos, "chaos", "", "for a rehearsal: inject the faults of this file into the daemon itself; see docs/chaos.md. SIGHUP has it read again")
	flags.BoolVar(&o.inherits, "systemd-socket-activation", false, "fail where systemd has not opened a socket; those that it has opened are used in any case")
	flags.BoolVar(&o.noDropPath, "no-drop-path", false, "tell unikernels their names with their paths: --name=path:hello instead of --name=hello")
	flags.StringVar(&o.influx, "influx", "", "push what the daemon itself uses to InfluxDB at HOST[:PORT]; albatross-influx does so for unikernels")
	flags.StringVar(&o.zvols, "allow-zvol-for", "", "has no effect: block devices are files, not volumes of ZFS")
	o.log.Register(flags)
	return flags
}
