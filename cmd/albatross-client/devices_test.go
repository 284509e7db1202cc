package main

import (
	"testing"

	"github.com/stretchr/testify/require"

	"albatross/messages"
)

func TestParseBlock(t *testing.T) {
	some := messages.Some[string]
	for text, want := range map[string]messages.BlockDevice{
		"storage":           {Name: "storage"},
		"storage:disk":      {Name: "storage", Device: some("disk")},
		"storage@512":       {Name: "storage", SectorSize: messages.Some(512)},
		"storage:disk@4096": {Name: "storage", Device: some("disk"), SectorSize: messages.Some(4096)},
		"a:b:c":             {Name: "a", Device: some("b:c")},
		"a:b:c:d@1024":      {Name: "a", Device: some("b:c:d"), SectorSize: messages.Some(1024)},
		"storage:-disk":     {Name: "storage", Device: some("-disk")}, // the daemon has no device of that name
	} {
		got, err := parseBlock(text)
		require.NoError(t, err, text)
		require.Equal(t, want, got, text)
	}
	for text, want := range map[string]error{
		"":                       errDeviceFormat,
		":disk":                  errDeviceFormat,
		"storage:":               errDeviceFormat,
		"a:b:":                   errDeviceFormat,
		"a::b":                   errDeviceFormat,
		"a:b::c":                 errDeviceFormat,
		"@512":                   errDeviceFormat,
		"storage@":               errSectorSize,
		"storage@x":              errSectorSize,
		"storage@0":              errSectorSize,
		"storage@256":            errSectorSize,
		"storage@1000":           errSectorSize,
		"storage@-512":           errSectorSize,
		"storage@512@1":          errSectorSize,
		"s@9223372036854775808":  errSectorSize,
		"s@4611686018427387904":  errSectorSize, // larger than a message can hold
		"s@-9223372036854775808": errSectorSize,
	} {
		_, err := parseBlock(text)
		require.Equal(t, want, err, text)
	}
}

func TestParseNetwork(t *testing.T) {
	mac := messages.Some(messages.MAC{0, 0x80, 0x41, 0xab, 0xcd, 0xef})
	for text, want := range map[string]messages.Network{
		"service":                       {Name: "service"},
		"service:br0":                   {Name: "service", Bridge: messages.Some("br0")},
		"service@00:80:41:ab:cd:ef":     {Name: "service", MAC: mac},
		"service:br0@00-80-41-AB-CD-EF": {Name: "service", Bridge: messages.Some("br0"), MAC: mac},
	} {
		got, err := parseNetwork(text)
		require.NoError(t, err, text)
		require.Equal(t, want, got, text)
	}
	const notSix = " is not six bytes like 00:80:41:12:34:56"
	for text, want := range map[string]string{
		"a:b:c":               `"b:c" cannot be the name of an interface: it contains '/' or ':'`,
		"a:b c":               `the name "b c" cannot be used: it contains a space or a control character`,
		"a\n:b":               `the name "a\n" cannot be used: it contains a space or a control character`,
		"a:sixteen--letters":  `"sixteen--letters" cannot be the name of an interface: it has more than 15 bytes`,
		"a:b:":                "format is 'name' or 'name:device-name'",
		"a@zz":                "Macaddr: invalid character 'z' at 0",
		"a@00:80:41:12:34:5g": "Macaddr: invalid character 'g' at 16",
		"a@":                  "Macaddr: ''" + notSix,
		"a@00:80:41:12:34":    "Macaddr: '00:80:41:12:34'" + notSix,
		"a@0:80:41:12:34:056": "Macaddr: '0:80:41:12:34:056'" + notSix,
		"a@:00:80:41:12:34:5": "Macaddr: ':00:80:41:12:34:5'" + notSix,
		"a@000000000000000:1": "Macaddr: '000000000000000:1'" + notSix,
		"a@00::80:41:12:34:5": "Macaddr: '00::80:41:12:34:5'" + notSix,
		"a@00:00:00:00:00:00": "cannot use the MAC address 00:00:00:00:00:00: it is zero",
		"a@33:33:00:00:00:01": "cannot use the MAC address 33:33:00:00:00:01: it is for multicasts, as the first byte is odd",
	} {
		_, err := parseNetwork(text)
		require.EqualError(t, err, want, text)
	}
}

func TestDevicesAreSets(t *testing.T) {
	a, b := messages.Network{Name: "a"}, messages.Network{Name: "b"}
	disk := messages.BlockDevice{Name: "a"}
	require.NoError(t, distinct([]messages.BlockDevice{disk}, []messages.Network{a, b}))
	require.EqualError(t, distinct(nil, []messages.Network{a, b, a}), "Bridge names must be a set")
	require.EqualError(t, distinct([]messages.BlockDevice{disk, disk}, nil), "Block devices must be a set")
}
