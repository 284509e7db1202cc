package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"albatross/runtime/confine"
)

// confined starts a guest as a daemon does that is root, and returns when it has printed a
// line.
func confined(t *testing.T, root string, arguments ...string) launched {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("only root can give a tender another user")
	}
	groups := user{"root with groups", &syscall.Credential{Groups: []uint32{1, 2, 3}}}
	l := launchAs(t, groups, tender, append([]string{"--confine=user", "--root=" + root, "--cpus=", "--", tender}, arguments...)...)
	l.begins(t)
	return l
}

// confinedInVoid is confined in a void.
func confinedInVoid(t *testing.T, arguments ...string) launched {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("only root can make namespaces")
	}
	dir := emptyDir(t)
	void, err := confine.NewVoid(dir)
	require.NoError(t, err)
	defer void.Close()
	l := launchWith(t, users()[0], void.Files(), tender,
		append([]string{"--confine=user", "--root=" + dir, "--void=5", "--cpus=", "--", tender}, arguments...)...)
	l.begins(t)
	return l
}

// begins opens the gate, and returns when the guest has printed a line.
func (l launched) begins(t *testing.T) {
	t.Helper()
	require.Equal(t, "+", l.release(t), "nothing is missing")
	line, err := bufio.NewReader(l.output).ReadString('\n')
	require.NoError(t, err)
	require.NotContains(t, line, "albatross-tender: ")
}

// emptyDir returns a directory by the path by which the kernel shows it.
func emptyDir(t *testing.T) string {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	require.NoError(t, err)
	return dir
}

// forBothTargets runs a test with both tenders, and a disk for root alone.
func forBothTargets(t *testing.T, test func(t *testing.T, target, disk string)) {
	for _, target := range []string{"spt", "hvt"} {
		t.Run(target, func(t *testing.T) {
			if target == "hvt" {
				requireKVM(t)
			}
			test(t, target, users()[0].disk(t, 1<<20))
		})
	}
}

func imageOf(name, target string) string { return filepath.Join(directory, name+"."+target) }

// TestATenderHasAUserOfItsOwn, and no group, capability or root directory of the machine: all
// of its threads.
func TestATenderHasAUserOfItsOwn(t *testing.T) {
	forBothTargets(t, func(t *testing.T, target, disk string) {
		root := emptyDir(t)
		l := confined(t, root, target, "--mem=16", "--", imageOf("hello", target), "--quiet")
		own := confine.Own(l.command.Process.Pid)
		threads, err := os.ReadDir(proc(l.command, "task"))
		require.NoError(t, err)
		for _, thread := range threads {
			status := readProc(t, l.command, "task/"+thread.Name()+"/status")
			for _, kind := range []string{"Uid", "Gid"} {
				require.Equal(t, fmt.Sprintf("%s:\t%d\t%d\t%d\t%d", kind, own, own, own, own), line(status, kind+":"))
			}
			require.Empty(t, strings.Fields(strings.TrimPrefix(line(status, "Groups:"), "Groups:")))
			for _, set := range []string{"CapInh", "CapPrm", "CapEff", "CapAmb"} {
				require.Equal(t, set+":\t0000000000000000", line(status, set+":"))
			}
			require.Equal(t, "NoNewPrivs:\t1", line(status, "NoNewPrivs:"))
		}
		require.Equal(t, "CapBnd:\t0000000000000000", line(readProc(t, l.command, "status"), "CapBnd:"))
		is, err := os.Readlink(proc(l.command, "root"))
		require.NoError(t, err)
		require.Equal(t, root, is)
		is, err = os.Readlink(proc(l.command, "cwd"))
		require.NoError(t, err)
		require.Equal(t, root, is)
	})
}

// TestATenderThatStaysRoot, since its daemon could not take over another user, has none of the
// capabilities of root.
func TestATenderThatStaysRoot(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root has capabilities")
	}
	forBothTargets(t, func(t *testing.T, target, disk string) {
		root := emptyDir(t)
		l := launch(t, tender, "--confine", "--root="+root, "--cpus=", "--", tender, target, "--mem=16", "--", imageOf("hello", target), "--quiet")
		require.Equal(t, "+", l.release(t))
		text, err := bufio.NewReader(l.output).ReadString('\n')
		require.NoError(t, err)
		require.NotContains(t, text, "albatross-tender: ")
		threads, err := os.ReadDir(proc(l.command, "task"))
		require.NoError(t, err)
		for _, thread := range threads {
			status := readProc(t, l.command, "task/"+thread.Name()+"/status")
			require.Equal(t, "Uid:\t0\t0\t0\t0", line(status, "Uid:"))
			for _, set := range []string{"CapInh", "CapPrm", "CapEff", "CapAmb"} {
				require.Equal(t, set+":\t0000000000000000", line(status, set+":"))
			}
		}
		is, err := os.Readlink(proc(l.command, "root"))
		require.NoError(t, err)
		require.Equal(t, root, is)
	})
}

// TestATenderHasItsOwnNamespaces: all of its threads are in them, and find no file and no network.
// The descriptors of the void are closed.
func TestATenderHasItsOwnNamespaces(t *testing.T) {
	forBothTargets(t, func(t *testing.T, target, disk string) {
		l := confinedInVoid(t, target, "--mem=16", "--", imageOf("hello", target), "--quiet")
		threads, err := os.ReadDir(proc(l.command, "task"))
		require.NoError(t, err)
		for _, thread := range threads {
			task := "task/" + thread.Name()
			for _, kind := range []string{"mnt", "net", "ipc", "uts"} {
				ours, err := os.Readlink("/proc/self/ns/" + kind)
				require.NoError(t, err)
				its, err := os.Readlink(proc(l.command, task+"/ns/"+kind))
				require.NoError(t, err)
				require.NotEqual(t, ours, its, kind)
			}
			for _, dir := range []string{"root", "cwd"} {
				files, err := os.ReadDir(proc(l.command, task+"/"+dir))
				require.NoError(t, err)
				require.Empty(t, files, dir)
			}
			require.Len(t, strings.Split(strings.TrimSpace(readProc(t, l.command, task+"/mountinfo")), "\n"), 1)
			require.Regexp(t, `\n +lo:[ 0]+\n$`, readProc(t, l.command, task+"/net/dev"))
		}
		fds, err := filepath.Glob(proc(l.command, "fd/*"))
		require.NoError(t, err)
		for _, fd := range fds {
			is, err := os.Readlink(fd)
			require.NoError(t, err)
			require.NotRegexp(t, `^(mnt|net):`, is)
		}
	})
}

// TestATenderLeavesNoSecrets: the kernel writes its memory to no core file, whatever that is
// piped to, and lets nobody but root look into it.
func TestATenderLeavesNoSecrets(t *testing.T) {
	forBothTargets(t, func(t *testing.T, target, disk string) {
		l := confined(t, emptyDir(t), target, "--mem=16", "--", imageOf("hello", target), "--quiet")
		limits := readProc(t, l.command, "limits")
		require.Equal(t, []string{"1", "1"}, strings.Fields(line(limits, "Max core file size"))[4:6])
		info, err := os.Stat(proc(l.command, "environ")) // the kernel gives those of others to their user
		require.NoError(t, err)
		require.Zero(t, info.Sys().(*syscall.Stat_t).Uid)
	})
}

// TestATenderHasLimits: it writes no larger file than its largest block device, and so on.
func TestATenderHasLimits(t *testing.T) {
	forBothTargets(t, func(t *testing.T, target, disk string) {
		l := confined(t, emptyDir(t), target, "--mem=16", "--", imageOf("hello", target), "--quiet")
		require.Equal(t, []string{"0", "0"}, limitOf(t, l, "Max file size"))
		require.Equal(t, []string{"512", "512"}, limitOf(t, l, "Max open files"))
		require.Equal(t, []string{"64", "64"}, limitOf(t, l, "Max processes"))
		require.Equal(t, []string{"0", "0"}, limitOf(t, l, "Max locked memory"))
		require.Equal(t, "500\n", readProc(t, l.command, "oom_score_adj"))

		l = confinedInVoid(t, target, "--mem=16", "--block:storage="+disk, "--", imageOf("disk", target), "write", "abc")
		require.NoError(t, l.command.Wait())
		text, err := os.ReadFile(disk)
		require.NoError(t, err)
		require.Equal(t, "abc", string(text[1<<20-512:1<<20-509]), "a file of root that was open")
	})
}

func limitOf(t *testing.T, l launched, what string) []string {
	t.Helper()
	fields := strings.Fields(strings.TrimPrefix(line(readProc(t, l.command, "limits"), what), what))
	require.GreaterOrEqual(t, len(fields), 2)
	return fields[:2]
}

// TestAConfinedTenderHasANetwork, which was attached before.
func TestAConfinedTenderHasANetwork(t *testing.T) {
	isolate(t)
	for _, target := range []string{"spt", "hvt"} {
		if target == "hvt" {
			requireKVM(t)
		}
		l := confinedInVoid(t, target, "--mem=2", "--net:service="+tap, "--net-mac:service=02:67:75:65:73:74", "--", imageOf("net", target))
		requireEcho(t)
		require.NoError(t, l.command.Process.Signal(unix.SIGTERM), "it ends as any other")
		require.Error(t, l.command.Wait())
		require.Equal(t, unix.SIGTERM, l.command.ProcessState.Sys().(syscall.WaitStatus).Signal())
	}
}

// TestAnImageIsReadWithoutPrivileges: what is wrong with one is found when all was given up.
func TestAnImageIsReadWithoutPrivileges(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can give a tender another user")
	}
	forBothTargets(t, func(t *testing.T, target, disk string) {
		image := filepath.Join(t.TempDir(), "image")
		require.NoError(t, os.WriteFile(image, []byte("no image"), 0o400))
		l := launch(t, tender, "--confine=user", "--root="+emptyDir(t), "--cpus=", "--", tender,
			target, "--block:storage=/nowhere/disk", "--", image)
		require.Equal(t, "+", l.release(t))
		text, err := io.ReadAll(l.output)
		require.NoError(t, err)
		require.Equal(t, "albatross-tender: cannot attach block device storage: Could not open block device: disk: no such file or directory\n", string(text),
			"devices are opened first")
	})
}

// TestAnOrdinaryUserGivesUpWhatThereIs: limits, and what no tender needs.
func TestAnOrdinaryUserGivesUpWhatThereIs(t *testing.T) {
	u := users()[len(users())-1]
	l := launchAs(t, u, tender, "--confine=user", "--root=/nowhere", "--cpus=", "--", tender, "spt", "--mem=16", "--", guest("hello"), "--quiet")
	require.Equal(t, "+", l.release(t), "nothing is missing that there could be")
	_, err := bufio.NewReader(l.output).ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, []string{"1", "1"}, limitOf(t, l, "Max core file size"))
	require.Equal(t, []string{"0", "0"}, limitOf(t, l, "Max file size"))
	require.Equal(t, []string{"0", "0"}, limitOf(t, l, "Max locked memory"))
	require.Equal(t, "500\n", readProc(t, l.command, "oom_score_adj"))
	output, err := os.Open(proc(l.command, "fd/1"))
	require.NoError(t, err)
	require.NoError(t, output.Close())
}
