// Package chaos kills the daemon at every failpoint and at random moments, and
// looks at what the next one makes of that. It does so without a keeper and with
// one, which is killed, stopped and upgraded as well. And it lays siege to a host:
// everything that can go wrong does so at the same time, with rests in between.
//
// Every host has unikernels that nothing may disturb, a network namespace, block
// devices and cgroups, all its own. A client keeps a journal: of everything that it changes
// the states that it may be in. One that was acknowledged is the only one; of a
// command that was not answered it is that before or that after, as a whole. Then
//
//  1. everything is in one of its states
//  2. what was not touched runs on as the same process, and so does what was
//     acknowledged
//  3. there is nothing that is not on record: no process, tap, FIFO, image,
//     cgroup or file of a block device, and of named networks no process, bridge,
//     table of nftables, station, published port or interface that forwards
//  4. how a unikernel has ended is told as it was, or as not known
//  5. every line of a console is there, once
//  6. what is on record is what events tell, and these follow from each other
//
// The test binary is the init of its hosts: what a daemon leaves behind becomes
// its child, and is reaped at once.
package chaos

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"go.uber.org/goleak"

	"albatross/runtime/failpoint"
	"albatross/test/inject"
	"albatross/test/netns"
	"albatross/test/programs"
)

const (
	// patience is for what must happen at all.
	patience = 30 * time.Second
	// pause is how often is asked for what nobody tells.
	pause = 2 * time.Millisecond
	// workers is how many hosts there are at a time.
	workers = 3
)

// killsVariable is the environment variable that says how often to kill at random
// moments. Where it is given, the daemon is also killed at every point as often
// as it is come to, and the figures are printed.
const killsVariable = "ALBATROSS_CRASH_KILLS"

// fewKills is how often otherwise.
const fewKills = 15

// The directories of the programs: those that can be killed, the same of another
// version, and those of a release.
var killable, newer, released string

// A mode is how the daemon runs.
type mode string

const (
	alone mode = "without a keeper"
	// On a kernel that tells only the parent how a process has ended.
	kept mode = "with a keeper"
)

var modes = []mode{alone, kept}

// inModes runs a test in each mode.
func inModes(t *testing.T, test func(t *testing.T, m mode)) {
	for _, m := range modes {
		t.Run(string(m), func(t *testing.T) { test(t, m) })
	}
}

func TestMain(m *testing.M) {
	mayBecomeHog()
	inject.MayBecomeProgram()
	programs.MayBecomeProgram()
	netns.Enter()
	bin, err := os.MkdirTemp("", "crash-bin")
	if err != nil {
		panic(err)
	}
	killable, newer, released = filepath.Join(bin, "killable"), filepath.Join(bin, "newer"), filepath.Join(bin, "released")
	for dir, version := range map[string]string{killable: "old", newer: "new", released: "released"} {
		tag := failpoint.Tag
		if dir == released {
			tag = ""
		}
		if err := programs.BuildVersion(dir, tag, version, "albatrossd", "albatross-tender", "albatross-keeper", "albatross-network", "albatross-tls-endpoint"); err != nil {
			panic(err)
		}
	}
	beInit()
	goleak.VerifyTestMain(m, goleak.IgnoreCurrent(), goleak.Cleanup(func(code int) {
		_ = os.RemoveAll(bin)
		if os.Getenv(killsVariable) != "" {
			fmt.Print(sum)
		}
		os.Exit(code)
	}))
}

// wantedKills is how often to kill at random moments, and whether everything is
// to be done.
func wantedKills(t *testing.T) (kills int, all bool) {
	text := os.Getenv(killsVariable)
	if text == "" {
		return fewKills, false
	}
	kills, err := strconv.Atoi(text)
	if err != nil || kills < 1 {
		t.Fatalf("%s is %q, not a number", killsVariable, text)
	}
	return kills, true
}

// inParallel has several hosts share work.
func inParallel(t *testing.T, work func(t *testing.T, worker int)) {
	t.Run("hosts", func(t *testing.T) {
		for worker := range workers {
			t.Run(fmt.Sprint(worker), func(t *testing.T) {
				t.Parallel()
				work(t, worker)
			})
		}
	})
}
