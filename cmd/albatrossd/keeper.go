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

// useKeeper connects to the keeper, and starts one if none runs. With --no-keeper, or if it is
// not installed, one that runs leaves all consoles to this daemon. Release comes after the
// last console was closed.
func useKeeper(ctx context.Context, o options, log *slog.Logger) (k *guest.Keeping, release func(), err error) {
	self, err := os.Executable()
	if err != nil {
		return nil, nil, fmt.Errorf("cannot find albatross-keeper: %w", err)
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
		release, err = keeper.Claim(ctx, config)
		return nil, release, err
	}
	if k, err = guest.OpenKeeping(ctx, config, log); err != nil {
		return nil, nil, err
	}
	return k, k.Close, nil
}
