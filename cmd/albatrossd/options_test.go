package main

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestOptionsThatCannotBeMeant(t *testing.T) {
	for arg, refusal := range map[string]string{
		"--tmpdir=":                            "option '--tmpdir' is empty",
		"--dbdir=":                             "option '--dbdir' is empty",
		"--dbdir=/tmp/a\nb":                    "option '--dbdir' contains a control character",
		"--metrics=":                           "option '--metrics' is empty",
		"--tender=":                            "option '--tender' is empty",
		"--cgroup=a\tb":                        "option '--cgroup' contains a control character",
		"--cgroup=..":                          `cannot use --cgroup: ".." cannot be the name of a cgroup`,
		"--cgroup=a/../../b":                   "cannot use --cgroup: ",
		"--cgroup=/":                           "cannot use --cgroup: ",
		"--cgroup=.":                           "cannot use --cgroup: ",
		"--cgroup=a//b":                        "cannot use --cgroup: ",
		"--grace=-1s":                          "cannot use --grace -1s: it is negative",
		"--interval=0s":                        "cannot use --interval 0s: ",
		"--max-subscribers=0":                  "cannot use --max-subscribers 0: ",
		"--versions=-1":                        "cannot use --versions -1: 0 to 100 are possible",
		"--versions=101":                       "cannot use --versions 101: ",
		"--max-subscribers=-1":                 "cannot use --max-subscribers -1: ",
		"--cgroup=" + strings.Repeat("x", 256): "cannot use --cgroup: ",
	} {
		cmd := command()
		cmd.SetArgs([]string{arg})
		require.ErrorContains(t, cmd.Execute(), refusal, "%q", arg)
	}
	for _, fine := range []string{"", "auto", "albatross", "/albatross", "a/b", "a/", "a b", ".a"} {
		o := options{cgroup: fine, tender: "auto", interval: 1, maxSubscribers: 1}
		require.NoError(t, o.check(command().Flags()), "%q", fine)
	}
}
