package main

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"albatross/runtime/hvt"
	"albatross/runtime/image"
	"albatross/runtime/solo5"
)

func TestParse(t *testing.T) {
	mac := solo5.MAC{0x00, 0x80, 0x41, 0xab, 0xcd, 0xef}
	for _, c := range []struct {
		line string
		want solo5.Config
	}{
		{"albatross-tender hello", solo5.Config{Image: "hello"}},
		{"albatross-tender spt hello", solo5.Config{Image: "hello"}},
		{"albatross-tender -- spt", solo5.Config{Image: "spt"}},
		{"/usr/bin/solo5-spt spt", solo5.Config{Image: "spt"}},
		{"solo5-spt.2 --mem=32 hello", solo5.Config{Image: "hello", Memory: 32 << 20}},
		{"albatross-tender hello --mem=32 -- x", solo5.Config{
			Image: "hello", Arguments: []string{"--mem=32", "--", "x"},
		}},
		{"albatross-tender spt --mem=64 --net:service=vmmtap0 --net-mac:service=00:80:41:ab:CD:ef" +
			" --block-sector-size:storage=4096 --block:storage=/a=b -- hello --name=x", solo5.Config{
			Image: "hello", Memory: 64 << 20, Arguments: []string{"--name=x"},
			Networks: []solo5.Network{{Name: "service", Interface: "vmmtap0", MAC: mac}},
			Blocks:   []solo5.Block{{Name: "storage", Path: "/a=b", SectorSize: 4096}},
		}},
	} {
		if c.want.Memory == 0 {
			c.want.Memory = 512 << 20
		}
		got, err := parse(strings.Fields(c.line))
		require.NoError(t, err, c.line)
		require.Equal(t, runGuest, got.action, c.line)
		if len(got.config.Arguments) == 0 {
			got.config.Arguments = nil
		}
		require.Equal(t, c.want, got.config.Config, c.line)
	}
}

// TestParseTarget: who calls says for which target, by a word or by the name of Solo5's
// tender.
func TestParseTarget(t *testing.T) {
	for line, want := range map[string]command{
		"albatross-tender image":                        {target: image.SPT},
		"albatross-tender spt image":                    {target: image.SPT},
		"albatross-tender hvt image":                    {target: image.HVT},
		"albatross-tender hvt --dumpcore=/tmp -- image": {target: image.HVT, config: hvt.Config{DumpCore: "/tmp"}},
		"/usr/bin/solo5-hvt image":                      {target: image.HVT},
		"solo5-hvt.2 image":                             {target: image.HVT},
		"solo5-hvt --version":                           {action: showVersion, target: image.HVT},
		"albatross-tender hvt --version":                {action: showVersion, target: image.HVT},
	} {
		got, err := parse(strings.Fields(line))
		require.NoError(t, err, line)
		require.Equal(t, want.action, got.action, line)
		require.Equal(t, want.target, got.target, line)
		require.Equal(t, want.config.DumpCore, got.config.DumpCore, line)
	}
	got, err := parse([]string{"solo5-hvt", "hvt"})
	require.NoError(t, err)
	require.Equal(t, "hvt", got.config.Image)
}

func TestParseRefuses(t *testing.T) {
	for line, want := range map[string]string{
		"":                              "cannot run: Missing KERNEL operand: no image is given, see --help",
		"spt":                           "cannot run: Missing KERNEL operand: no image is given, see --help",
		"--mem=32 --":                   "cannot run: Missing KERNEL operand: no image is given, see --help",
		"--mem hello":                   "cannot run: Invalid option: `--mem': no such option, see --help",
		"--mem= hello":                  "cannot run: Invalid option: `--mem=': Malformed argument to --mem: not a number of megabytes, see --help",
		"--mem=0 hello":                 "cannot run: Invalid option: `--mem=0': Malformed argument to --mem: not a number of megabytes, see --help",
		"--mem=-1 hello":                "cannot run: Invalid option: `--mem=-1': Malformed argument to --mem: not a number of megabytes, see --help",
		"--mem=32M hello":               "cannot run: Invalid option: `--mem=32M': Malformed argument to --mem: not a number of megabytes, see --help",
		"--mem=17592186044416 hello":    "cannot run: Invalid option: `--mem=17592186044416': Malformed argument to --mem: not a number of megabytes, see --help",
		"spt --dumpcore=/tmp hello":     "cannot run: Invalid option: `--dumpcore=/tmp': no such option, or nothing behind it, see --help",
		"hvt --dumpcore= hello":         "cannot run: Invalid option: `--dumpcore=': no such option, or nothing behind it, see --help",
		"hvt --dumpcore hello":          "cannot run: Invalid option: `--dumpcore': no such option, see --help",
		"hvt":                           "cannot run: Missing KERNEL operand: no image is given, see --help",
		"--x-exec-heap hello":           "cannot run: Invalid option: `--x-exec-heap': no such option, see --help",
		"--net=tap0 hello":              "cannot run: Invalid option: `--net=tap0': no such option, or nothing behind it, see --help",
		"--net:=tap0 hello":             "cannot run: Invalid option: `--net:=tap0': no such option, or nothing behind it, see --help",
		"--net:a= hello":                "cannot run: Invalid option: `--net:a=': no such option, or nothing behind it, see --help",
		"--disk:a=b hello":              "cannot run: Invalid option: `--disk:a=b': no such option, see --help",
		"--net-mac:a=00:11:22 x":        "cannot run: Invalid option: `--net-mac:a=00:11:22': not a hardware address, see --help",
		"--net-mac:a=0:1:2:3:4:100 x":   "cannot run: Invalid option: `--net-mac:a=0:1:2:3:4:100': not a hardware address, see --help",
		"--net-mac:a=0:1:2:3:4:5 x":     "cannot set hardware address: no network a is attached",
		"--block-sector-size:a=x x":     "cannot run: Invalid option: `--block-sector-size:a=x': not a sector size, see --help",
		"--block-sector-size:a=65536 x": "cannot run: Invalid option: `--block-sector-size:a=65536': not a sector size, see --help",
		"--block-sector-size:a=512 x":   "cannot set sector size: no block device a is attached",
	} {
		_, err := parse(append([]string{"albatross-tender"}, strings.Fields(line)...))
		require.EqualError(t, err, want, line)
	}
}
