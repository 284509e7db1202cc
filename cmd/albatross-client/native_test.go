package main

import (
	"io"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"albatross/messages"
)

var everything = messages.NamedInfo{
	Name: messages.Name{Path: "a", Label: "b"},
	Info: messages.Info{
		Startup: messages.Some(7),
		Fail:    messages.FailBehaviour{Restart: true, Codes: []int{2, 5}},
		CPUIDs:  []int{0, 3},
		Memory:  64,
		Digest:  []byte{0xab, 0xcd},
		Blocks: []messages.BlockInfo{
			{Name: "storage", Device: messages.Some("disk"), SectorSize: messages.Some(4096), Size: 10},
			{Name: "plain"},
		},
		Networks: []messages.NetworkInfo{
			{Name: "service", Bridge: messages.Some("br0"), MAC: messages.Some(messages.MAC{2, 0, 0, 0, 0, 1})},
			{Name: "plain"},
		},
		Argv:      messages.Some([]string{"--hello", "\x1b"}),
		Started:   time.Date(2026, 1, 2, 3, 4, 5, 999_000_000, time.FixedZone("east", 3600)),
		CPUs:      2,
		LinuxBoot: messages.Some("gpt1"),
	},
}

func TestInfoTellsWhatItsFormTells(t *testing.T) {
	const rest = `
block devices storage -> disk (sector-size: 4096 bytes, size 10 MB), plain -> plain (sector-size: 512 bytes, size 0 MB)
bridge service -> br0 (mac 02:00:00:00:00:01), plain -> plain
digest abcd`
	const argv = "\nargv --hello \\027"
	const start = "[unikernel: a:b]: typ solo5\nstarted 2026-01-02T02:04:05-00:00 fail behaviour restart 2, 5\n"
	require.Equal(t, start+"CPUids 0, 3 64 MB memory"+rest+argv, infoText(4, everything, true))
	require.Equal(t, start+"startup at 7 CPUids 0, 3 64 MB memory"+rest+argv, infoText(5, everything, true))
	require.Equal(t, start+"startup at 7 CPUids 0, 3 64 MB memory"+rest+"\n#cpus 2 linux_boot_partition gpt1"+argv,
		infoText(6, everything, true))
}

func TestInfoOfNothingSpecial(t *testing.T) {
	plain := messages.NamedInfo{
		Name: messages.Name{Label: "b"},
		Info: messages.Info{Fail: messages.FailBehaviour{Restart: true}, CPUIDs: []int{0}, CPUs: 1},
	}
	require.Equal(t, `[unikernel: :b]: typ solo5
started 0001-01-01T00:00:00-00:00 fail behaviour restart all except 1
startup at not specified CPUids 0 0 MB memory
block devices none
bridge none
digest 
#cpus 1 linux_boot_partition not specified`, infoText(6, plain, true))
}

func TestAnswersAreShown(t *testing.T) {
	one := infoText(4, everything, false)
	require.NotContains(t, one, "--hello")
	require.Equal(t, "host [unikernel: a:]: "+one+"\n"+one+"\n",
		shown(t, messages.SuccessInfos{Form: 4, List: []messages.NamedInfo{everything, everything}}))
	require.Equal(t, "host [unikernel: a:]: no unikernels\n", shown(t, messages.SuccessInfos{Form: 4}))
	require.Equal(t, "host [unikernel: a:]: no policies\n", shown(t, messages.SuccessPolicies{}))
	require.Equal(t, "host [unikernel: a:]: success\n", shown(t, messages.SuccessEmpty{}))
}

// nativeProgram returns one whose output is native's.
func nativeProgram(stdout, stderr io.Writer) *program {
	p := newProgram(nil, stdout, stderr)
	p.out.format = nativeFormat
	return p
}

func shown(t *testing.T, answer messages.Success) string {
	var out strings.Builder
	p := printer{format: nativeFormat, stdout: &out}
	require.NoError(t, p.show(messages.Name{Path: "a"}, answer))
	return out.String()
}

func TestAnswerThatWasNotAskedFor(t *testing.T) {
	p := printer{format: nativeFormat, stdout: t.Output()}
	err := p.show(messages.Name{}, messages.SuccessOldBlock{})
	require.ErrorIs(t, err, errOddAnswer)
	require.ErrorContains(t, err, "messages.SuccessOldBlock")
}
