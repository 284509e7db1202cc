package keeper

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
)

// run starts a keeper and returns when it listens. The keeper is no child of this program.
func run(ctx context.Context, config Config) error {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	c := exec.CommandContext(ctx, config.Program, "--dbdir="+config.DBDir, "--detach")
	c.Env, c.Dir = []string{}, "/"
	if out, err := c.CombinedOutput(); err != nil {
		return fmt.Errorf("cannot start the keeper: %w: %s", err, bytes.TrimSpace(out))
	}
	return nil
}
