package messages

import (
	"errors"
	"io/fs"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestPublic(t *testing.T) {
	for text, want := range map[string]Public{
		"":                        "",
		"unknown policy":          "unknown policy",
		"no space left on device": "no space left on device",
		"cannot find image: lstat /var/lib/albatross/images/0a: no such file or directory":            "cannot find image: lstat 0a: no such file or directory",
		"cannot create console /run/albatross/fifo/r:hello: permission denied":                        "cannot create console r:hello: permission denied",
		"cannot open console /run/albatross/fifo/:hello: permission denied":                           "cannot open console :hello: permission denied",
		"cannot write /home/my self/a db/state.db: no space left on device":                           "cannot write state.db: no space left on device",
		`cannot read "/home/my self/a db": it is a directory`:                                         `cannot read "a db": it is a directory`,
		"rename /a b/c d /a b/e f: cross-device link":                                                 "rename c d e f: cross-device link",
		"no tender; /usr/lib/x/albatross-tender is for ABI version 2 (build it with another version)": "no tender; albatross-tender is for ABI version 2 (build it with another version)",
		"open /sys/fs/cgroup/cpuset/x/cpuset.cpus: no such file or directory":                         "open cpuset.cpus: no such file or directory",
		"cannot use --block=/dev/sda, (/proc/7/stat)":                                                 "cannot use --block=sda, (stat)",
		"/dev/net/tun":                         "tun",
		"opens /var/lib/albatross/":            "opens albatross",
		"file:///var/x":                        "file:x",
		"what is read/write, spt/hvt or 1 / 2": "what is read/write, spt/hvt or 1 / 2",
		"no room on /: remove something":       "no room on /: remove something",
		"fd00::/64 or fd00::1/64":              "fd00::/64 or fd00::1/64",
	} {
		require.Equal(t, want, Publicf("%s", text))
	}
}

func TestPublicError(t *testing.T) {
	require.Empty(t, PublicError(nil))
	require.Equal(t, Public("open image: permission denied"), PublicError(&fs.PathError{Op: "open", Path: "/a b/image", Err: fs.ErrPermission}))
	require.Equal(t, Public("it ends"), PublicError(errors.New("it ends")))
}

// FuzzPublic: no path is left, and a text without one stays as it is.
func FuzzPublic(f *testing.F) {
	for _, text := range []string{"open /a b/c: d", "//", "/ /", `"/x/`, "é/x", "/x/, /", "/\n/y", "\xff/x", "/ /\"/"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		public := Publicf("%s", text)
		require.Equal(t, -1, pathStart(string(public)), "%q", public)
		require.Equal(t, public, Publicf("%s", public))
	})
}
