package packages

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// What Debian has of packages that were there, and what stays of ours on purpose: the group, of
// which systemd keeps copies, and the state.
var stays = []string{"/var/lib/dpkg", "/var/log", "/var/cache", "/var/lib/apt", "/etc/group-", "/etc/gshadow-", "/etc/.pwd.lock", "/var/lib/albatross"}

// TestLifeOfAPackage installs, upgrades, removes and purges it, and a unikernel goes on until its
// end.
func TestLifeOfAPackage(t *testing.T) {
	r := newRoot(t)
	r.do("dpkg", "-i", r.packageFile(older, "*.deb"))
	require.Contains(t, r.do("albatrossd", "--version"), "version "+older+" ")
	require.Contains(t, r.read("/etc/group"), "\nalbatross:", "by sysusers")
	require.DirExists(t, r.path("/run/albatross/util"), "by tmpfiles")
	r.do("bash", "-n", "/usr/share/bash-completion/completions/albatross-client")
	r.requirePages()

	require.Contains(t, r.do("albatrossd", "--check", "--config=/etc/albatross/albatrossd.toml"), "a new one is made at the first start")
	d := r.start()
	r.copyFile("../guests/bin/hello.spt", "/tmp/hello.spt")
	r.do("albatross-client", "create", "short", "/tmp/hello.spt", "--arg=world")
	require.Contains(t, r.do("albatross-client", "info"), "short")
	r.do("albatross-client", "destroy", "short")
	require.NotContains(t, r.do("albatross-client", "info"), "short")

	r.do("albatross-client", "create", "hello", "/tmp/hello.spt", "--arg=world")
	unikernel, keeper := r.processes("/usr/bin/albatross-tender"), r.processes("/usr/bin/albatross-keeper")
	require.Len(t, unikernel, 1)
	require.Len(t, keeper, 1)
	r.write("/etc/albatross/albatrossd.toml", "verbosity = \"debug\"\n", 0o644)
	require.NotContains(t, r.do("dpkg", "-i", r.packageFile(newer, "*.deb")), "unikernels that run", "an upgrade is no removal")
	require.Contains(t, r.do("albatross-client", "info"), "hello", "the daemon is as it was")
	require.Equal(t, "verbosity = \"debug\"\n", r.read("/etc/albatross/albatrossd.toml"), "what an operator has changed")
	d.stop(t)
	d = r.start()
	require.Contains(t, r.do("albatrossd", "--version"), "version "+newer+" ")
	require.Equal(t, unikernel, r.processes("/usr/bin/albatross-tender"), "it goes on")
	require.Contains(t, r.do("albatross-client", "info"), "hello")
	r.until("the keeper is of the new build", func() bool {
		program, err := os.Readlink("/proc/" + keeper[0] + "/exe")
		return err == nil && !strings.HasSuffix(program, "(deleted)")
	})

	d.stop(t)
	require.Contains(t, r.do("dpkg", "-r", "albatross-go"), "unikernels that run go on")
	require.NoFileExists(t, r.path("/usr/bin/albatrossd"))
	require.Equal(t, unikernel, r.processes("/usr/bin/albatross-tender"), "it goes on")
	r.do("dpkg", "-i", r.packageFile(newer, "*.deb"))
	d = r.start()
	r.do("albatross-client", "destroy", "hello")
	d.stop(t)
	r.until("the keeper has nothing to keep", func() bool { return len(r.processes("/usr/bin/albatross-keeper")) == 0 })
	require.Contains(t, r.do("dpkg", "--purge", "albatross-go"), "/var/lib/albatross stays")
	require.FileExists(t, r.path("/var/lib/albatross/state.db"))
	require.NoDirExists(t, r.path("/run/albatross"))
	r.requireAsBefore(stays...)
}

// requirePages checks that each program and each command of the client has a manual page.
func (r *root) requirePages() {
	r.t.Helper()
	programs, err := filepath.Glob(r.path("/usr/bin/albatross*"))
	require.NoError(r.t, err)
	require.Len(r.t, programs, 7)
	var names []string
	for _, program := range programs {
		names = append(names, filepath.Base(program))
	}
	_, commands, found := strings.Cut(r.do("albatross-client", "--help"), "\nUnikernels:\n")
	require.True(r.t, found)
	commands, _, _ = strings.Cut(commands, "\nFlags:\n")
	for line := range strings.Lines(commands) {
		if !strings.HasPrefix(line, "  ") { // a title, or what is between two groups
			continue
		}
		if command := strings.Fields(line)[0]; command != "help" {
			names = append(names, "albatross-client-"+command)
		}
	}
	require.Greater(r.t, len(names), 30)
	for _, name := range names {
		pages, err := filepath.Glob(r.path("/usr/share/man/man[18]/" + name + ".[18].gz"))
		require.NoError(r.t, err)
		require.Len(r.t, pages, 1, name)
	}
}

// TestWhatIsLeftEndsAsThePackageSays: after a removal, the command that it prints ends a unikernel.
func TestWhatIsLeftEndsAsThePackageSays(t *testing.T) {
	r := newRoot(t)
	r.do("dpkg", "-i", r.packageFile(newer, "*.deb"))
	d := r.start()
	r.copyFile("../guests/bin/hello.spt", "/tmp/hello.spt")
	r.do("albatross-client", "create", "hello", "/tmp/hello.spt")
	d.stop(t)
	require.Contains(t, r.do("dpkg", "-r", "albatross-go"), "pkill -f '^/usr/bin/albatross-'\n")
	tenders, keepers := r.processes("/usr/bin/albatross-tender"), r.processes("/usr/bin/albatross-keeper")
	require.Len(t, tenders, 1)
	require.Len(t, keepers, 1)
	for _, left := range append(tenders, keepers...) { // pkill would end those of others, too
		pid, err := strconv.Atoi(left)
		require.NoError(t, err)
		require.NoError(t, unix.Kill(pid, unix.SIGTERM))
	}
	r.until("all have ended", func() bool {
		return len(r.processes("/usr/bin/albatross-tender"))+len(r.processes("/usr/bin/albatross-keeper")) == 0
	})
}

// TestWhatScriptsAskOfSystemd notes what they would have systemd do if it ran.
func TestWhatScriptsAskOfSystemd(t *testing.T) {
	r := newRoot(t)
	require.NoError(t, os.MkdirAll(r.path("/run/systemd/system"), 0o755))
	r.write("/usr/bin/systemctl", "#!/bin/sh\necho \"$@\" >>/tmp/asked\n", 0o755)
	asked := func(args ...string) []string {
		r.write("/tmp/asked", "", 0o644)
		r.do(args...)
		return strings.Split(strings.TrimSpace(r.read("/tmp/asked")), "\n")
	}
	begin := []string{
		"daemon-reload",
		"try-restart albatrossd.service albatross-tls-endpoint.service albatross-influx.service",
	}
	end := []string{
		"--no-reload disable albatrossd.service albatross-tls-endpoint.service albatross-influx.service",
		"stop albatrossd-vmmd.socket albatross-tls-endpoint.socket albatross-tls-endpoint.service albatross-influx.service",
		"daemon-reload",
	}
	require.Equal(t, begin, asked("dpkg", "-i", r.packageFile(older, "*.deb")), "nothing is started that did not run")
	require.Equal(t, begin, asked("dpkg", "-i", r.packageFile(newer, "*.deb")), "nothing is stopped, and the keeper goes on")
	require.Equal(t, end, asked("dpkg", "-r", "albatross-go"))
	require.Equal(t, []string{"daemon-reload", "stop albatross-keeper.service"}, asked("dpkg", "--purge", "albatross-go"))

	require.Equal(t, begin, asked("rpm", "--upgrade", "--nodeps", r.packageFile(older, "*.rpm")))
	require.Equal(t, begin, asked("rpm", "--upgrade", "--nodeps", r.packageFile(newer, "*.rpm")))
	require.Equal(t, end, asked("rpm", "--erase", "albatross-go"))
}

// TestRPM installs the same files by rpm, and removes them.
func TestRPM(t *testing.T) {
	r := newRoot(t)
	r.do("rpm", "--install", "--nodeps", r.packageFile(newer, "*.rpm"))
	require.Contains(t, r.do("albatrossd", "--version"), "version "+newer+" ")
	r.requirePages()
	installed := strings.Fields(r.do("rpm", "--query", "--list", "albatross-go"))
	r.do("rpm", "--verify", "--nodeps", "albatross-go")
	require.Contains(t, r.do("rpm", "--erase", "albatross-go"), "unikernels that run go on")
	for _, path := range installed {
		require.NoFileExists(t, r.path(path))
	}

	inDeb := strings.Fields(r.do("sh", "-c", "dpkg-deb --fsys-tarfile "+r.packageFile(newer, "*.deb")+" | tar -t"))
	var list []string
	for _, path := range inDeb {
		if path = strings.TrimPrefix(path, "."); !strings.HasSuffix(path, "/") {
			list = append(list, strings.Replace(path, "/zsh/vendor-completions/", "/zsh/site-functions/", 1))
		}
	}
	require.ElementsMatch(t, list, installed)
	_, archived, _ := strings.Cut(r.do("tar", "-tf", r.packageFile(newer, "*.tar.gz")), "\n")
	for _, path := range list {
		require.Contains(t, archived, path+"\n", "the archive has it, too")
	}
}

// TestInsteadOfNative: the package takes the place of native's.
func TestInsteadOfNative(t *testing.T) {
	r := newRoot(t)
	r.installNative()
	r.do("apt-get", "install", "-y", r.packageFile(newer, "*.deb"))
	require.Contains(t, r.do("albatross-client", "--version"), "version "+newer+" ")
	require.NotContains(t, r.do("dpkg", "-l"), "ii  albatross ")
	require.NoFileExists(t, r.path("/usr/lib/systemd/system/albatross_daemon.service"))
}

// installNative installs a package with the name and some files of native's.
func (r *root) installNative() {
	r.t.Helper()
	r.write("/tmp/native/DEBIAN/control", "Package: albatross\nVersion: 2.7.2\nArchitecture: amd64\nMaintainer: nobody <root@localhost>\nDescription: albatross\n", 0o644)
	r.write("/tmp/native/usr/bin/albatross-client", "#!/bin/sh\necho native\n", 0o755)
	r.write("/tmp/native/usr/lib/systemd/system/albatross_daemon.service", "[Service]\nExecStart=/bin/true\n", 0o644)
	r.do("dpkg-deb", "--build", "/tmp/native", "/tmp/albatross_2.7.2_amd64.deb")
	r.do("dpkg", "-i", "/tmp/albatross_2.7.2_amd64.deb")
}
