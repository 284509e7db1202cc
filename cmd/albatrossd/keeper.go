package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"

	"albatross/runtime/guest"
	"albatross/runtime/keeper"
)

// useKeeper claims all consoles for this daemon, connects to the keeper, and starts one if
// none runs; with --no-keeper, or if it is not installed, there is none. Release comes after
// the last console was closed.
func useKeeper(ctx context.Context, o options, log *slog.Logger) (k *guest.Keeping, release func(), err error) {
	claim, err := keeper.NewClaim(ctx, o.dbdir)
	if err != nil {
		return nil, nil, err
	}
	k, err = openKeeping(ctx, o, log)
	switch {
	case err != nil:
		claim.Release()
		return nil, nil, err
	case k == nil:
		return nil, claim.Release, nil
	}
	return k, func() { k.Close(); claim.Release() }, nil
}

// openKeeping returns nil if there is to be no keeper.
func openKeeping(ctx context.Context, o options, log *slog.Logger) (*guest.Keeping, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("cannot find albatross-keeper: %w", err)
	}
	config := keeper.Config{
		DBDir:   o.dbdir,
		Program: filepath.Join(filepath.Dir(self), "albatross-keeper"), // installed beside this program
		Build:   version,
		Ended:   func(keeper.Ended) {},
		Trouble: func(text string) { log.Warn("The keeper reports trouble", "text", text) },
	}
	_, missing := os.Stat(config.Program)
	if missing != nil && !o.noKeeper {
		log.Debug("There is no keeper beside this program", "error", missing)
	}
	if missing != nil || o.noKeeper {
		return nil, takeAll(ctx, config)
	}
	return guest.OpenKeeping(ctx, config, log)
}

// takeAll tells a keeper that runs that this daemon reads all consoles. One that does not
// answer finds that out by the claim, but an earlier build of it would not.
func takeAll(ctx context.Context, config keeper.Config) error {
	config.Read, config.Await = true, true
	c, err := keeper.Connect(ctx, config)
	switch {
	case errors.Is(err, keeper.ErrNone), errors.Is(err, keeper.ErrSilent) && ctx.Err() == nil:
		return nil
	case err != nil:
		return err
	}
	c.Close()
	return nil
}
