package main

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"albatross/messages"
)

// running returns arguments of a unikernel, none of which is the default.
func running() messages.Arguments {
	return messages.Arguments{
		Startup:   messages.Some(7),
		Fail:      messages.FailBehaviour{Restart: true, Codes: []int{3, 4}},
		CPUIDs:    []int{1, 2},
		CPUs:      2,
		Memory:    100,
		Argv:      messages.Some([]string{"--old", "x"}),
		LinuxBoot: messages.Some("boot"),
		Blocks:    []messages.BlockDevice{{Name: "storage", Device: messages.Some("data"), SectorSize: messages.Some(4096)}},
		Networks:  []messages.Network{{Name: "service", Bridge: messages.Some("br0"), MAC: messages.Some(messages.MAC{2, 0, 0, 0, 0, 1})}},
	}
}

// daemonRunning lists a:x with these arguments.
func daemonRunning(args messages.Arguments) *fakeDaemon {
	name := messages.Name{Path: "a", Label: "x"}
	info := messages.Info{
		Startup: args.Startup, Fail: args.Fail, CPUIDs: args.CPUIDs, CPUs: args.CPUs, Memory: args.Memory,
		Argv: args.Argv, LinuxBoot: args.LinuxBoot, Digest: make([]byte, 32),
		Blocks:   []messages.BlockInfo{{Name: "storage", Device: messages.Some("data"), SectorSize: messages.Some(4096), Size: 7}},
		Networks: []messages.NetworkInfo{{Name: "service", Bridge: messages.Some("br0"), MAC: messages.Some(messages.MAC{2, 0, 0, 0, 0, 1})}},
	}
	d := quietDaemon()
	d.infos = messages.SuccessInfos{Form: 6, List: []messages.NamedInfo{{Name: name, Info: info}}}
	d.settings = messages.SuccessSettings{List: []messages.NamedSettings{{Name: name, AddName: args.AddName}}}
	return d
}

// restart runs the command, and returns the command that the daemon has received.
func (d *fakeDaemon) restart(t *testing.T, options ...string) (code exitCode, asked messages.Arguments, stderr string) {
	var out, errs strings.Builder
	p := nativeProgram(&out, &errs)
	args := append([]string{"restart", "a:x", "--socket", d.serve(t), "--replace-arguments"}, options...)
	code = p.run(t.Context(), args)
	select {
	case r := <-d.restarts:
		return code, r.Args.Value, errs.String()
	default:
		return code, messages.Arguments{}, errs.String()
	}
}

// TestReplaceArguments: options that are given change their arguments, and all others stay as they
// are.
func TestReplaceArguments(t *testing.T) {
	for options, change := range map[string]func(*messages.Arguments){
		"":                        func(a *messages.Arguments) {},
		"--arg=x":                 func(a *messages.Arguments) { a.Argv = messages.Some([]string{"x"}) },
		"--mem=64":                func(a *messages.Arguments) { a.Memory = 64 },
		"--mem=32":                func(a *messages.Arguments) { a.Memory = 32 },
		"--cpu=0":                 func(a *messages.Arguments) { a.CPUIDs = []int{0} },
		"--cpus=1":                func(a *messages.Arguments) { a.CPUs = 1 },
		"--startup=1":             func(a *messages.Arguments) { a.Startup = messages.Some(1) },
		"--linux-boot=y":          func(a *messages.Arguments) { a.LinuxBoot = messages.Some("y") },
		"--no-add-name=false":     func(a *messages.Arguments) { a.AddName = true },
		"--restart-on-fail":       func(a *messages.Arguments) {},
		"--restart=false":         func(a *messages.Arguments) { a.Fail = messages.FailBehaviour{} },
		"--exit-code=9":           func(a *messages.Arguments) { a.Fail.Codes = []int{9} },
		"--restart --exit-code=9": func(a *messages.Arguments) { a.Fail.Codes = []int{9} },
		"--block=b":               func(a *messages.Arguments) { a.Blocks = []messages.BlockDevice{{Name: "b"}} },
		"--net=n":                 func(a *messages.Arguments) { a.Networks = []messages.Network{{Name: "n"}} },
		"--mem=64 --arg=y --cpu=3 --cpu=4": func(a *messages.Arguments) {
			a.Memory, a.Argv, a.CPUIDs = 64, messages.Some([]string{"y"}), []int{3, 4}
		},
	} {
		t.Run(options, func(t *testing.T) {
			want := running()
			change(&want)
			code, asked, stderr := daemonRunning(running()).restart(t, strings.Fields(options)...)
			require.Equal(t, exitSuccess, code, stderr)
			require.Empty(t, stderr)
			require.Equal(t, want, asked)
		})
	}
}

// TestReplaceArgumentsOfWhatWantsItsName: the name is kept, too.
func TestReplaceArgumentsOfWhatWantsItsName(t *testing.T) {
	args := running()
	args.AddName = true
	_, asked, _ := daemonRunning(args).restart(t, "--mem=64")
	require.True(t, asked.AddName)
	_, asked, _ = daemonRunning(args).restart(t, "--no-add-name")
	require.False(t, asked.AddName)
}

// TestReplaceArgumentsOfADaemonThatTellsLess: an argument that the daemon does not send is reported
// as unknown, unless an option gives it.
func TestReplaceArgumentsOfADaemonThatTellsLess(t *testing.T) {
	d := daemonRunning(running())
	d.settings = messages.Failure{Text: "unknown"}
	code, asked, stderr := d.restart(t, "--mem=64")
	require.Equal(t, exitSuccess, code)
	require.Contains(t, stderr, "[WARNING] the daemon does not tell whether it was created with --no-add-name")
	require.True(t, asked.AddName)
	_, asked, stderr = d.restart(t, "--no-add-name")
	require.Empty(t, stderr)
	require.False(t, asked.AddName)
}

// TestReplaceArgumentsOfNothing fails as for a daemon.
func TestReplaceArgumentsOfNothing(t *testing.T) {
	d := quietDaemon()
	code, asked, stderr := d.restart(t, "--mem=64")
	require.Equal(t, exitRefused, code)
	require.Contains(t, stderr, "command failed destroy: not found")
	require.Zero(t, asked)
}
