package main

import (
	"context"
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
	if o.noKeeper {
		return nil, nil
	}
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("cannot find albatross-keeper: %w", err)
	}
	program := filepath.Join(filepath.Dir(self), "albatross-keeper") // installed beside this program
	if _, err := os.Stat(program); err != nil {
		log.Debug("There is no keeper beside this program", "error", err)
		return nil, nil
	}
	return guest.OpenKeeping(ctx, keeper.Config{
		DBDir:   o.dbdir,
		Program: program,
		Build:   version,
		Trouble: func(text string) { log.Warn("The keeper reports trouble", "text", text) },
	}, log)
}
