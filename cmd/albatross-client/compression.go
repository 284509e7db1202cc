package main

import (
	"github.com/spf13/pflag"

	"albatross/messages"
)

// remoteLevel is the default level for a remote daemon. The highest one takes eight times as
// long, for 3 % (see BenchmarkCompress), and is native's default.
const (
	remoteLevel  = 6
	levelDefault = " (default 0, and 6 from afar)"
)

func registerLevel(flags *pflag.FlagSet, level *messages.Option[int]) {
	flags.Var(maybe("LEVEL", parseLevel, level), "compression-level", "compress the contents to send them, 0 (not) to 9 (most)"+levelDefault)
}

// compression returns the level to use: on this machine compression would only cost time.
func (d *daemon) compression(level messages.Option[int]) int {
	if d.destination.given() {
		return level.Or(remoteLevel)
	}
	return level.Or(0)
}
