package seccomp

import (
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"albatross/test/bpf"
)

func TestThreadPointer(t *testing.T) {
	filter := Compile(ThreadPointer())
	setFS := bpf.Call{Number: unix.SYS_ARCH_PRCTL, Architecture: Architecture, Arguments: [6]uint64{archSetFS, 5}}
	require.EqualValues(t, unix.SECCOMP_RET_ALLOW, bpf.Judge(filter, setFS))
	setGS := setFS
	setGS.Arguments[0] = 0x1001
	require.EqualValues(t, uint32(unix.SECCOMP_RET_KILL_PROCESS), bpf.Judge(filter, setGS))
}
