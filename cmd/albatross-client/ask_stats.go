package main

import (
	"context"
	"errors"

	"github.com/spf13/pflag"

	"albatross/messages"
)

func registerStatsName(flags *pflag.FlagSet, name *messages.Name, usage string) {
	flags.VarP(one("NAME", messages.ParseName, name), "name", "n", usage)
}

// askStats is ask for the socket of statistics.
func askStats(ctx context.Context, d *daemon, out *printer, name messages.Name, command messages.Command) error {
	conn, answer, err := d.open(ctx, name, command)
	if err != nil {
		return err
	}
	return errors.Join(out.show(conn.Name(), answer), conn.Close())
}
