package main

import (
	"log/slog"
	"os"
	"path/filepath"
	"slices"

	"albatross/messages"
	"albatross/runtime/guest"
	"albatross/runtime/store"
	"albatross/sockets/gateway"
)

// logStart logs what starts here, and the available tenders.
func logStart(o options, guests *guest.Machine, log *slog.Logger) {
	log.Info("albatrossd starts", "version", version, "protocol", int(messages.CurrentVersion), "pid", os.Getpid(),
		"tmpdir", o.tmpdir, "dbdir", o.dbdir, "tenders", guests.Tenders.Programs(), "keeper", guests.Keeping.PID())
}

// maxLogged bounds how many set-aside records are logged.
const maxLogged = 50

// logDatabase logs what is wrong with the database, and what that means.
func logDatabase(o options, db *store.DB, log *slog.Logger) {
	if db.Uncopied != nil {
		log.Warn("Going on without a new copy of the database", "cause", db.Uncopied)
	}
	for _, a := range db.Aside[:min(len(db.Aside), maxLogged)] {
		log.Error("A record of the database is damaged, and was set aside", "record", a.String(), "of", a.Names, "cause", a.Cause, "means", a.Lost())
	}
	if len(db.Aside) > 0 {
		log.Error("Records of the database were set aside: the disk may be failing", "count", len(db.Aside),
			"kept", "the last of them in the database, in the bucket damaged", "copy", filepath.Join(o.dbdir, store.KeptFile))
	}
}

// logSockets logs the sockets, and who may use them, besides us and root.
func logSockets(listeners map[messages.Endpoint]*gateway.Listener, log *slog.Logger) {
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
