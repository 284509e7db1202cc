package tender_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"albatross/messages"
	"albatross/runtime/tender"
)

func TestArgs(t *testing.T) {
	mac := messages.MAC{0, 0x80, 0x41, 0x64, 0, 0x91}
	tests := map[string]struct {
		guest tender.Guest
		want  []string
	}{
		"least": {
			tender.Guest{Image: "/i", Memory: 32},
			[]string{"--mem=32", "--", "/i"},
		},
		"name before the arguments": {
			tender.Guest{Image: "/i", Memory: 16, Name: "spt", Argv: []string{"hello"}},
			[]string{"--mem=16", "--", "/i", "--name=spt", "hello"},
		},
		"arguments as they are": {
			tender.Guest{Image: "/i", Memory: 16, Argv: []string{"", "--", "a b", "--mem=1", "\xff"}},
			[]string{"--mem=16", "--", "/i", "", "--", "a b", "--mem=1", "\xff"},
		},
		"network": {
			tender.Guest{Image: "/i", Memory: 32, Networks: []tender.Network{{Name: "service0", Tap: "vmmtap1", MAC: mac}}},
			[]string{"--mem=32", "--net:service0=vmmtap1", "--net-mac:service0=00:80:41:64:00:91", "--", "/i"},
		},
		"networks without taps": {
			tender.Guest{Image: "/i", Memory: 32, Networks: []tender.Network{
				{Name: "a", Pair: &tender.Pair{}, MAC: mac},
				{Name: "b", Tap: "t0", MAC: mac},
				{Name: "c", Pair: &tender.Pair{}, MAC: mac, MTU: 9000},
			}},
			[]string{
				"--mem=32", "--net:a=@5,@6", "--net-mac:a=00:80:41:64:00:91", "--net:b=t0", "--net-mac:b=00:80:41:64:00:91",
				"--net:c=@7,@8", "--net-mac:c=00:80:41:64:00:91", "--net-mtu:c=9000", "--", "/i",
			},
		},
		"block devices": {
			tender.Guest{Image: "/i", Memory: 32, Blocks: []tender.Block{
				{Name: "storage", File: "/db/block/:disk"},
				{Name: "log", File: "/db/block/:log", SectorSize: messages.Some(4096)},
			}},
			[]string{"--mem=32", "--block:storage=/db/block/:disk", "--block:log=/db/block/:log", "--block-sector-size:log=4096", "--", "/i"},
		},
		"everything, networks first": {
			tender.Guest{
				Image: "/images/ab", Memory: 256, Name: "web", Argv: []string{"-l", "debug"},
				Networks: []tender.Network{{Name: "a", Tap: "t0"}, {Name: "b", Tap: "t1", MAC: mac}},
				Blocks:   []tender.Block{{Name: "s", File: "/f", SectorSize: messages.Some(512)}},
			},
			[]string{
				"--mem=256", "--net:a=t0", "--net-mac:a=00:00:00:00:00:00", "--net:b=t1", "--net-mac:b=00:80:41:64:00:91",
				"--block:s=/f", "--block-sector-size:s=512", "--", "/images/ab", "--name=web", "-l", "debug",
			},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) { require.Equal(t, test.want, tender.Args(test.guest)) })
	}
}
