package main

import (
	"log/slog"
	"os"
	"slices"

	"albatross/actors"
	"albatross/messages"
	"albatross/sockets/gateway"
)

// tellStart logs what starts here, and what it can run images with.
func tellStart(o options, config *actors.Config, log *slog.Logger) {
	log.Info("albatrossd starts", "version", version, "protocol", int(messages.CurrentVersion), "pid", os.Getpid(),
		"tmpdir", o.tmpdir, "dbdir", o.dbdir, "tenders", config.Tenders.Programs())
}

// tellSockets logs where clients may connect, and who may, beside us and root.
func tellSockets(listeners map[actors.Endpoint]*gateway.Listener, log *slog.Logger) {
	var paths []string
	for _, l := range listeners {
		paths = append(paths, l.Path())
	}
	slices.Sort(paths)
	if gid := group(); gid >= 0 {
		log = log.With("group", gid)
	}
	log.Info("Listening", "sockets", paths)
}
