// Package programs is for tests that run the programs of this tree: it builds them, reports when a
// daemon answers, and runs them as on an older kernel.
package programs

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"albatross/messages"
	"albatross/sockets/client"
)

// Built is an environment variable with a directory of all programs, which is set where there
// is no Go to build them.
const Built = "ALBATROSS_BUILT"

// Build builds programs, by the names of their directories in cmd, into dir.
func Build(dir string, names ...string) error {
	if built := os.Getenv(Built); built != "" {
		return link(built, dir, names)
	}
	return BuildTagged(dir, "", names...)
}

func link(from, to string, names []string) error {
	for _, name := range names {
		if err := os.Link(filepath.Join(from, name), filepath.Join(to, name)); err != nil {
			return fmt.Errorf("cannot use a program that is built: %w", err)
		}
	}
	return nil
}

// BuildTagged is Build with a build tag.
func BuildTagged(dir, tag string, names ...string) error {
	return build(dir, []string{"-tags", tag}, names)
}

// BuildVersion is BuildTagged with another version.
func BuildVersion(dir, tag, version string, names ...string) error {
	return build(dir, []string{"-tags", tag, "-ldflags", "-X main.version=" + version}, names)
}

// BuildAlike is Build, with the race detector if this program has it.
func BuildAlike(dir string, names ...string) (race bool, err error) {
	info, _ := debug.ReadBuildInfo() // every program that Go builds has it
	race = slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"})
	return race, build(dir, []string{fmt.Sprintf("-race=%t", race)}, names)
}

// static are the programs that are built without cgo, and thereby without the race detector: see
// Makefile.
var static = []string{"albatross-network"}

func build(dir string, flags, names []string) error {
	alone := func(name string) bool { return slices.Contains(static, name) }
	for _, name := range slices.DeleteFunc(slices.Clone(names), func(name string) bool { return !alone(name) }) {
		if err := goBuild(dir, append(slices.Clone(flags), "-race=false"), []string{name}, "CGO_ENABLED=0"); err != nil {
			return err
		}
	}
	if rest := slices.DeleteFunc(slices.Clone(names), alone); len(rest) > 0 {
		return goBuild(dir, flags, rest)
	}
	return nil
}

func goBuild(dir string, flags, names []string, environment ...string) error {
	args := append([]string{"build", "-o", dir + string(filepath.Separator)}, flags...)
	for _, name := range names {
		args = append(args, "albatross/cmd/"+name)
	}
	c := exec.Command("go", args...)
	c.Env = append(os.Environ(), environment...)
	if out, err := c.CombinedOutput(); err != nil {
		return fmt.Errorf("cannot build %v: %w\n%s", names, err, out)
	}
	return nil
}

// Answers reports whether a daemon whose --tmpdir is dir accepts at all of its sockets, and answers
// at those where that can be checked.
func Answers(ctx context.Context, dir string) bool {
	for _, socket := range []string{"console", "stat", "vmmd"} {
		c, err := client.Dial(ctx, filepath.Join(dir, "util", socket+".sock"))
		if err != nil {
			return false
		}
		if socket == "vmmd" {
			_, err = c.Ask(ctx, messages.Name{}, messages.PolicyInfo{})
		}
		c.Close()
		if err != nil {
			return false
		}
	}
	return true
}

// RemoveCgroups removes those that a daemon with this --dbdir has made, and could not remove
// because it was killed. It waits for the processes in them, which must have been killed.
func RemoveCgroups(dbdir string) {
	const leaving, pause = 10 * time.Second, 10 * time.Millisecond
	for end := time.Now().Add(leaving); removeCgroups(dbdir) > 0 && time.Now().Before(end); {
		time.Sleep(pause)
	}
}

// removeCgroups returns how many could not be removed.
func removeCgroups(dbdir string) (left int) {
	parent := "albatross" + strings.ReplaceAll(dbdir, "/", "-")
	for _, pattern := range []string{"/sys/fs/cgroup/", "/sys/fs/cgroup/*/"} {
		for _, below := range []string{"/*:*", ""} {
			found, _ := filepath.Glob(pattern + parent + below)
			for _, dir := range found {
				if os.Remove(dir) != nil {
					left++
				}
			}
		}
	}
	return left
}
