package programs_test

import (
	"fmt"
	"os"
	"os/exec"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"albatross/test/programs"
)

func TestMain(m *testing.M) {
	programs.MayBecomeProgram()
	if len(os.Args) == 2 && os.Args[1] == "probe" {
		probe()
		return
	}
	os.Exit(m.Run())
}

// probe prints what the kernel reveals of the exit of a process.
func probe() {
	fd, err := unix.PidfdOpen(os.Getpid(), 0)
	if err != nil {
		panic(err)
	}
	fmt.Print(unix.IoctlPidfdInfo(fd, &unix.PidfdInfo{}))
}

func TestWithoutExitInfo(t *testing.T) {
	c := exec.CommandContext(t.Context(), os.Args[0], "probe")
	programs.WithoutExitInfo(c)
	said, err := c.Output()
	require.NoError(t, err)
	require.Equal(t, unix.ENOTTY.Error(), string(said))
	said, err = exec.CommandContext(t.Context(), os.Args[0], "probe").Output()
	require.NoError(t, err)
	if string(said) != "<nil>" {
		t.Skipf("this kernel does not reveal an exit: %s", said)
	}
}
