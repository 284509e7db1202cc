package main

import (
	"encoding/hex"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"
	"github.com/stretchr/testify/require"

	"albatross/messages"
	"albatross/sockets/wire"
	"albatross/test/vectors"
)

// A nativeVector is a message that native has written, and the text that it shows for it.
type nativeVector struct {
	vectors.Vector
	Text vectors.Text
}

// eachNative calls f with every message of version 5 that native has written, except those with
// names in upper case, which are decoded in lower case.
func eachNative(t *testing.T, f func(v nativeVector, m messages.Wire)) {
	for _, file := range []string{"wire-250", "wire-272"} {
		for _, v := range vectors.LoadAs[nativeVector](t, file) {
			if v.Version != int(messages.Version5) || !v.NativeEncoder {
				continue
			}
			m, err := wire.Decode(v.Bytes(t))
			require.NoError(t, err, v.ID)
			if again, err := wire.Append(nil, m); err == nil && hex.EncodeToString(again) == v.Hex {
				f(v, m)
			}
		}
	}
}

// TestBytesOfCommandLines makes the client send what native clients have sent, and compares the
// bytes. A vector is left out if no command line produces it, for instance because of a policy that
// nothing could run with or a block device smaller than a MB, and if our client sends a newer form
// than it must.
func TestBytesOfCommandLines(t *testing.T) {
	said := make(map[string]int)
	eachNative(t, func(v nativeVector, m messages.Wire) {
		command, ok := m.Payload.(messages.Command)
		if !ok || m.Header.Sequence != 0 {
			return
		}
		kind := fmt.Sprintf("%T", command)
		args, ok := commandLine(m.Header.Name, command)
		if !ok {
			return
		}
		if again, ok := sayAgain(t, args, m); ok {
			encoded, err := wire.Append(nil, again)
			require.NoError(t, err)
			require.Equal(t, v.Hex, hex.EncodeToString(encoded), "%s: %q", v.ID, args)
			said[kind]++
		}
	})
	for kind, atLeast := range map[string]int{
		"messages.UnikernelCreate":  30,
		"messages.UnikernelRestart": 20,
		"messages.UnikernelGet":     1,
		"messages.UnikernelInfo":    5,
		"messages.ConsoleSubscribe": 10,
		"messages.PolicyInfo":       16,
		"messages.PolicyAdd":        6,
		"messages.PolicyRemove":     2,
		"messages.BlockList":        2,
		"messages.BlockAdd":         40,
		"messages.BlockRemove":      2,
		"messages.BlockSet":         4,
		"messages.BlockDump":        2,
		"messages.StatsAdd":         2,
		"messages.StatsRemove":      2,
		"messages.StatsSubscribe":   2,
	} {
		require.GreaterOrEqual(t, said[kind], atLeast, kind)
	}
}

// commandLine returns the arguments by which a user gives a command.
func commandLine(name messages.Name, command messages.Command) (args []string, ok bool) {
	switch c := command.(type) {
	case messages.UnikernelInfo:
		return []string{"info", "-n", name.String()}, c.Form == 6
	case messages.UnikernelCreate:
		args, ok = argumentOptions(c.Config.Arguments)
		return args, ok && !c.Force && c.Form >= 3
	case messages.UnikernelRestart:
		if !c.Args.OK {
			return []string{"restart", name.String()}, c.Form == messages.RestartSame
		}
		args, ok = argumentOptions(c.Args.Value)
		return append([]string{"restart", name.String(), "--replace-arguments"}, args...), ok
	case messages.UnikernelDestroy:
		return []string{"destroy", name.String()}, true
	case messages.UnikernelGet:
		level := fmt.Sprint(c.Level)
		return []string{"get", name.String(), "--compression-level", level}, c.Form == 3 && c.Level >= 0 && c.Level <= 9
	case messages.ConsoleSubscribe:
		if c.Since.OK {
			return []string{"console", name.String(), "--since", c.Since.Value.Format(time.RFC3339Nano)}, !c.Old
		}
		return []string{"console", name.String(), "--count", fmt.Sprint(c.Count.Value)}, !c.Old && c.Count.Value >= 0
	case messages.ConsoleListInactive:
		return []string{"inactive-consoles", "-p", string(name.Path)}, true
	case messages.PolicyInfo:
		return []string{"policy", "-p", string(name.Path)}, true
	case messages.PolicyRemove:
		return []string{"remove-policy", "-p", string(name.Path)}, true
	case messages.PolicyAdd:
		return policyLine(string(name.Path), c.Policy)
	case messages.BlockList:
		return []string{"block", "--name", name.String()}, true
	case messages.BlockAdd:
		return []string{"create-block", name.String(), fmt.Sprint(c.Size)}, c.Size > 0
	case messages.BlockRemove:
		return []string{"destroy-block", name.String()}, true
	case messages.BlockSet:
		level := map[bool]string{false: "0", true: "9"}[c.Compressed]
		return []string{"set-block", name.String(), os.DevNull, "--force", "--compression-level", level}, true
	case messages.StatsSubscribe:
		return []string{"stats", "-n", name.String()}, true
	case messages.StatsRemove:
		return []string{"stats-remove", "-n", name.String()}, true
	case messages.StatsAdd:
		args := []string{"stats-add", "-n", name.String(), "--vmmdev", c.VMMDev}
		for _, t := range c.Taps {
			args = append(args, "--bridge", t.Device+":"+t.Tap)
		}
		return append(args, fmt.Sprint(c.PID)), c.PID >= 0
	case messages.BlockDump:
		level := fmt.Sprint(c.Level)
		return []string{"dump-block", name.String(), "--compression-level", level}, c.Level >= 0 && c.Level <= 9
	}
	return nil, false
}

// policyLine returns the arguments by which a user sets a policy, if it can be used.
func policyLine(path string, p messages.Policy) (args []string, ok bool) {
	args = []string{"add-policy", path, fmt.Sprint(p.Unikernels), fmt.Sprintf("--mem=%d", p.Memory)}
	sayable := p.Unikernels > 0 && p.Memory > 16 && len(p.CPUIDs) > 0
	for _, id := range p.CPUIDs {
		args = append(args, fmt.Sprintf("--cpu=%d", id))
		sayable = sayable && id >= 0
	}
	if p.Block.OK {
		args = append(args, fmt.Sprintf("--block=%d", p.Block.Value))
		sayable = sayable && p.Block.Value >= 0
	}
	for _, bridge := range p.Bridges {
		args = append(args, "--bridge="+bridge)
	}
	return args, sayable
}

// argumentOptions returns the options of create and restart, if there are such.
func argumentOptions(a messages.Arguments) (args []string, ok bool) {
	add := func(option string, value any) { args = append(args, fmt.Sprintf("--%s=%v", option, value)) }
	sayable := a.CPUs == 1 && !a.LinuxBoot.OK && a.Memory > 0 && distinct(a.Blocks, a.Networks) == nil &&
		len(a.CPUIDs) > 0 && (!a.Argv.OK || len(a.Argv.Value) > 0)
	add("mem", a.Memory)
	for _, id := range a.CPUIDs {
		add("cpu", id)
		sayable = sayable && id >= 0
	}
	for _, arg := range a.Argv.Value {
		add("arg", arg)
	}
	for _, b := range a.Blocks {
		add("block", deviceOption(b.Name, b.Device)+suffix(b.SectorSize))
	}
	for _, n := range a.Networks {
		add("net", deviceOption(n.Name, n.Bridge)+suffix(n.MAC))
	}
	if a.Startup.OK {
		add("startup", a.Startup.Value)
		sayable = sayable && a.Startup.Value >= 0
	}
	add("no-add-name", !a.AddName)
	add("restart", a.Fail.Restart)
	for _, code := range a.Fail.Codes {
		add("exit-code", code)
		sayable = sayable && code >= 0
	}
	return args, sayable && !strings.Contains(strings.Join(args, " "), "=:")
}

func deviceOption(name string, host messages.Option[string]) string {
	if host.OK {
		return name + ":" + host.Value
	}
	return name
}

func suffix[T any](o messages.Option[T]) string {
	if o.OK {
		return fmt.Sprintf("@%v", o.Value)
	}
	return ""
}

// sayAgain returns what the client sends for these arguments. A create gets the image of the
// original, which is no image that create would accept. A command about policies gets its label,
// which no command line sets and every daemon ignores.
func sayAgain(t *testing.T, args []string, original messages.Wire) (again messages.Wire, ok bool) {
	if c, ok := original.Payload.(messages.UnikernelCreate); ok {
		config := c.Config
		config.Arguments = parseArguments(t, args)
		create := wire.OldestCreate(config, false)
		return messages.Wire{Header: original.Header, Payload: create}, create.Form == c.Form
	}
	again = sent(t, args)
	switch c := original.Payload.(type) {
	case messages.UnikernelRestart:
		return again, again.Payload.(messages.UnikernelRestart).Form == c.Form
	case messages.PolicyInfo, messages.PolicyAdd, messages.PolicyRemove:
		again.Header.Name.Label = original.Header.Name.Label
	}
	return again, true
}

func parseArguments(t *testing.T, args []string) messages.Arguments {
	var u unikernelOptions
	flags := pflag.NewFlagSet("test", pflag.ContinueOnError)
	u.register(flags)
	require.NoError(t, flags.Parse(args))
	arguments, err := u.arguments(newPrinter(nil, t.Output()), flags, defaults())
	require.NoError(t, err)
	return arguments
}

// sent returns the message that --socket=- shows.
func sent(t *testing.T, args []string) messages.Wire {
	var out strings.Builder
	p := nativeProgram(&out, t.Output())
	require.Equal(t, exitCommunication, p.run(t.Context(), append(args, "--socket=-")), "%q", args)
	lines := strings.Split(strings.TrimPrefix(out.String(), "out:\n"), "\n")
	var digits string
	for _, line := range lines {
		if len(line) > 8 {
			digits += strings.ReplaceAll(line[8:min(50, len(line))], " ", "")
		}
	}
	b, err := hex.DecodeString(digits)
	require.NoError(t, err, out.String())
	m, err := wire.Decode(b)
	require.NoError(t, err, out.String())
	return m
}

// TestTextOfAnswers compares what is printed with what native 2.7.2 prints, for the answers that
// are printed in its words.
func TestTextOfAnswers(t *testing.T) {
	compared := make(map[string]int)
	eachNative(t, func(v nativeVector, m messages.Wire) {
		if v.Native != "2.7.2" || v.ID == "wire272-v5-policies-negative" {
			return // native shows a negative size as a very large one
		}
		switch answer := m.Payload.(type) {
		case messages.DataStats:
			named := strings.Replace(printable(string(v.Text)), "stats: ", "stats "+nameText(m.Header.Name)+": ", 1)
			require.Equal(t, named, statsText(m.Header.Name, answer), v.ID)
			compared["messages.DataStats"]++
		case messages.SuccessEmpty, messages.SuccessText, messages.SuccessPolicies, messages.SuccessImage,
			messages.SuccessBlocks, messages.SuccessDump:
			want := printable(string(v.Text))
			if _, isText := answer.(messages.SuccessText); isText {
				want = escape(string(v.Text))
			}
			text, ok := successText(answer.(messages.Success), true)
			require.True(t, ok, v.ID)
			require.Equal(t, want, fmt.Sprintf("host %s: %s", nameText(m.Header.Name), text), v.ID)
			compared[fmt.Sprintf("%T", answer)]++
		}
	})
	require.Len(t, compared, 7, "%v", compared)
}

// printable returns a text of native, which lets control characters through.
func printable(text string) string {
	text = strings.ReplaceAll(text, "\n", "\x00")
	return strings.ReplaceAll(escape(text), `\000`, "\n")
}
