package keeper

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"

	"albatross/runtime/keeper/wire"
)

var errTaken = errors.New("another keeper runs")

// run starts a keeper and returns when it listens, or errTaken. The keeper is no child of
// this program.
func run(ctx context.Context, config Config) error {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	c := exec.CommandContext(ctx, config.Program, "--dbdir="+config.DBDir, "--detach")
	c.Env, c.Dir = []string{}, "/"
	if out, err := c.CombinedOutput(); err != nil {
		if c.ProcessState != nil && c.ProcessState.ExitCode() == wire.Taken {
			err = errTaken
		}
		return fmt.Errorf("cannot start the keeper: %w: %s", err, bytes.TrimSpace(out))
	}
	return nil
}
