package proc_test

import (
	"os"
	"os/exec"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"albatross/runtime/proc"
)

// sleeper starts a process of a user.
func sleeper(t *testing.T, user uint32) *exec.Cmd {
	t.Helper()
	c := exec.Command("sleep", "infinity")
	c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: user, Gid: user, NoSetGroups: true}}
	require.NoError(t, c.Start())
	t.Cleanup(func() { _ = c.Process.Kill(); _ = c.Wait() })
	return c
}

func TestRequireOwner(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can start processes of others")
	}
	const alice, bob = 65501, 65502
	hers, err := proc.Identify(sleeper(t, alice).Process.Pid)
	require.NoError(t, err)
	require.NoError(t, proc.RequireOwner(hers, alice))
	require.NoError(t, proc.RequireOwner(hers, 0))
	require.ErrorIs(t, proc.RequireOwner(hers, bob), proc.ErrForeign)
	roots, err := proc.Identify(os.Getpid())
	require.NoError(t, err)
	require.ErrorIs(t, proc.RequireOwner(roots, alice), proc.ErrForeign)

	hers.StartTime++ // another process had that pid
	require.ErrorIs(t, proc.RequireOwner(hers, alice), proc.ErrGone)
	hers.PID = 1 << 30
	require.ErrorIs(t, proc.RequireOwner(hers, alice), proc.ErrGone)
}

// TestASetUserProgramIsNotOfWhoHasStartedIt: its effective user is another one.
func TestASetUserProgramIsNotOfWhoHasStartedIt(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can make a file of root's that others execute as root")
	}
	const alice = 65501
	sleep, err := exec.LookPath("sleep")
	require.NoError(t, err)
	contents, err := os.ReadFile(sleep)
	require.NoError(t, err)
	dir, err := os.MkdirTemp("", "owner")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(dir)) })
	require.NoError(t, os.Chmod(dir, 0o755))
	program := dir + "/sleep"
	require.NoError(t, os.WriteFile(program, contents, 0o755))
	require.NoError(t, os.Chmod(program, 0o755|os.ModeSetuid))
	c := exec.Command(program, "infinity")
	c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: alice, Gid: alice, NoSetGroups: true}}
	require.NoError(t, c.Start())
	t.Cleanup(func() { _ = c.Process.Kill(); _ = c.Wait() })
	p, err := proc.Identify(c.Process.Pid)
	require.NoError(t, err)
	require.ErrorIs(t, proc.RequireOwner(p, alice), proc.ErrForeign)
}
