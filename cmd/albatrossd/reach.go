package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"albatross/messages"
	"albatross/sockets/gateway"
)

// lookAfter is how often the daemon checks that its sockets still exist.
const lookAfter = time.Second

// stayReachable restores directories and sockets that somebody has removed, such as a
// service that cleans up below /run, until ctx is done. It logs a persistent failure
// once.
func stayReachable(ctx context.Context, claim *claim, listeners map[messages.Endpoint]*gateway.Listener, log *slog.Logger) {
	tick := time.NewTicker(lookAfter)
	defer tick.Stop()
	said, gid := "", group()
	for {
		says := ""
		if err := renew(claim, gid, listeners); err != nil {
			says = err.Error()
		}
		if says != "" && says != said {
			log.Error("Clients cannot reach the daemon", "error", says)
		}
		said = says
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

func renew(claim *claim, gid int, listeners map[messages.Endpoint]*gateway.Listener) error {
	if err := makeDirs(claim.options, gid); err != nil {
		return err
	}
	if err := claim.renew(); err != nil {
		return fmt.Errorf("cannot use %s: %w", claim.options.tmpdir, err)
	}
	var failed error
	for _, l := range listeners {
		failed = errors.Join(failed, l.Renew())
	}
	return failed
}
