package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"
	"github.com/stretchr/testify/require"
)

// configured writes a file and returns the options of a command line that names it.
func configured(t *testing.T, text string, args ...string) (options, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "albatrossd.toml")
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	var o options
	flags := o.register()
	require.NoError(t, flags.Parse(append(args, "--config="+path)))
	return o, o.complete(flags)
}

func TestConfigSetsOptions(t *testing.T) {
	o, err := configured(t, `
# A comment.
grace = "1m" # another one
max-subscribers=7
"metrics" = 9100
stop-unikernels = true
cgroup = ""
`)
	require.NoError(t, err)
	require.Equal(t, time.Minute, o.grace)
	require.Equal(t, 7, o.maxSubscribers)
	require.Equal(t, "9100", o.metrics)
	require.True(t, o.stopUnikernels)
	require.Empty(t, o.cgroup)
	require.Equal(t, "/run/albatross", o.tmpdir, "what is not there keeps its default")
}

// TestTheCommandLineWins also where it gives the default.
func TestTheCommandLineWins(t *testing.T) {
	o, err := configured(t, "grace = \"1m\"\ninterval = \"2s\"\n", "--grace=10s")
	require.NoError(t, err)
	require.Equal(t, 10*time.Second, o.grace)
	require.Equal(t, 2*time.Second, o.interval)
}

func TestWrongConfigs(t *testing.T) {
	for text, want := range map[string]string{
		"\n\ngrase = \"1s\"\n":           `.toml:3: there is no key "grase": did you mean grace?`,
		"max_subscribers = 1":            `.toml:1: there is no key "max_subscribers": did you mean max-subscribers?`,
		"whatever = 1":                   `.toml:1: there is no key "whatever": the keys are the options that albatrossd --help lists`,
		"config = \"x\"":                 `.toml:1: there is no key "config": the keys are`,
		"check = true":                   `.toml:1: there is no key "check": the keys are`,
		"grace = 10":                     `.toml:1: cannot use grace: time: missing unit in duration "10" (it is a time, as in: grace = "10s")`,
		"# x\ngrace = \"-1s\"":           `.toml:2: cannot use --grace -1s: it is negative`,
		"max-subscribers = \"many\"":     `(it is a number, as in: max-subscribers = 5)`,
		"max-subscribers = 1.5":          `cannot use max-subscribers: the value is no text, number, true or false (it is a number`,
		"no-keeper = \"perhaps\"":        `(it is true or false, as in: no-keeper = true)`,
		"tender = \"other\"":             `.toml:1: cannot use --tender: `,
		"metrics = \"a:b:c\"":            `.toml:1: cannot use --metrics: `,
		"influx = \"a:b:c\"":             `.toml:1: cannot use --influx "a:b:c": `,
		"verbosity = \"loud\"":           `.toml:1: cannot use verbosity: expected one of quiet, `,
		"dbdir = \"\"":                   `.toml:1: option '--dbdir' is empty`,
		"grace = 1s":                     `.toml:1: cannot read this line: `,
		"tender = \"\"\"\nauto\n\"\"\"":  `.toml:1: cannot read this line: `,
		"grace = \"1s\"\ngrace = \"2s\"": `.toml:2: grace is set on line 1, too: remove one of them`,
		"[daemon]\ngrace = \"1s\"":       `.toml:1: there are no sections or dotted keys, such as daemon: remove it`,
		"a.grace = \"1s\"":               `.toml:1: there are no sections or dotted keys, such as a: remove it`,
	} {
		_, err := configured(t, text)
		require.ErrorContains(t, err, want, text)
	}
	_, err := configured(t, "grase = 1", "--grace=1s")
	require.ErrorContains(t, err, "grase", "also beside the command line")
}

func TestConfigThatCannotBeTrusted(t *testing.T) {
	var o options
	flags := o.register()
	path := filepath.Join(t.TempDir(), "albatrossd.toml")
	require.NoError(t, flags.Parse([]string{"--config=" + path}))
	require.ErrorIs(t, o.complete(flags), os.ErrNotExist, "a file that is named must be there")
	require.NoError(t, os.WriteFile(path, nil, 0o600))
	require.NoError(t, o.complete(flags))
	require.NoError(t, os.Chmod(path, 0o666))
	require.ErrorContains(t, o.complete(flags), "cannot read --config: ")
}

// notShown are options that the file in packaging does not show: they are other words for one that
// it shows, or have no effect there.
var notShown = []string{"verbose", "quiet", "color", "syslog", "allow-zvol-for", "systemd-socket-activation"}

// TestTheFileInPackaging shows each option with its default, and nothing else.
func TestTheFileInPackaging(t *testing.T) {
	text, err := os.ReadFile("../../packaging/albatrossd.toml")
	require.NoError(t, err)
	_, err = configured(t, string(text))
	require.NoError(t, err, "as it is installed")
	setting := regexp.MustCompile(`(?m)^# ([a-z-]+ = .*)$`)
	shown := setting.ReplaceAllString(string(text), "$1")
	_, err = configured(t, shown)
	require.NoError(t, err, "without what makes them comments")

	lines := map[string]string{}
	for _, found := range setting.FindAllStringSubmatch(string(text), -1) {
		key, value, _ := strings.Cut(found[1], " = ")
		require.NotContains(t, lines, key)
		lines[key] = strings.Trim(value, `"`)
	}
	withoutDefault := map[string]string{"metrics": "9100", "influx": "127.0.0.1:8094", "verbosity": "info"}
	var o options
	o.register().VisitAll(func(f *pflag.Flag) {
		want := f.DefValue
		if example, has := withoutDefault[f.Name]; has {
			require.Empty(t, want)
			want = example
		}
		for _, hidden := range append(notShown, notInConfig...) {
			if f.Name == hidden {
				require.NotContains(t, lines, f.Name)
				return
			}
		}
		require.Equal(t, want, lines[f.Name], "packaging/albatrossd.toml says what the default of %s is", f.Name)
		delete(lines, f.Name)
	})
	require.Empty(t, lines)
}
