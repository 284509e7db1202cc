package vm

import (
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"albatross/runtime/confine"
)

// TestUnits: the units as they are shipped, on a machine on which they are installed
// by the words of README.
func TestUnits(t *testing.T) {
	m := newMachine(t)
	m.install()
	m.sh(`useradd --groups albatross alice; useradd bob`)
	for _, test := range []struct {
		name string
		run  func(*machine)
	}{
		{"the group", theGroup},
		{"by hand", byHand},
		{"all functions", allFunctions},
		{"the clock", theClock},
		{"named networks", namedNetworks},
		{"the endpoint", theEndpoint},
		{"influx", influx},
		{"the journal", theJournal},
		{"confinement", confinement},
		{"landlock", theFileSystem},
		{"fs-verity", sealedImages},
		{"the keeper", theKeeper},
		{"the keeper's unit", theUnitOfTheKeeper},
		{"stopping", stopping},
		{"exposure", exposure},
	} {
		m.t = t
		t.Run(test.name, func(t *testing.T) {
			m.t = t
			test.run(m)
		})
	}
	m.t = t
}

// owners are those of what the group needs.
const owners = `/run/albatross root:albatross 750
/run/albatross/database.json root:root 640
/run/albatross/empty root:albatross 750
/run/albatross/fifo root:albatross 750
/run/albatross/util root:albatross 750
/run/albatross/util/console.sock root:albatross 660
/run/albatross/util/control.sock root:albatross 660
/run/albatross/util/stat.sock root:albatross 660
/run/albatross/util/vmmd.sock root:albatross 660
`

// requireReachable: members of the group may use the daemon, and nobody else.
func (m *machine) requireReachable() {
	m.t.Helper()
	m.client("alice", "info")
	m.client("root", "info")
	require.Equal(m.t, owners, m.sh(`stat -c '%n %U:%G %a' /run/albatross /run/albatross/* /run/albatross/util/*`))
	require.Contains(m.t, m.fails(asUser("bob", "info")...), "permission denied")
}

// theGroup: each start of the service leaves the sockets to the group, also where
// directories have been swept, or a former unit has given them to root.
func theGroup(m *machine) {
	m.requireReachable()
	m.run("systemctl", "restart", service)
	m.requireReachable()
	m.sh(`rm -r /run/albatross/fifo; chgrp -R root /run/albatross; systemd-tmpfiles --create; systemctl restart albatrossd-vmmd.socket; systemctl start albatrossd`)
	m.requireReachable()
	m.sh(`kill -9 $(systemctl show -P MainPID albatrossd)`)
	m.requireReachable()
}

// byHand is a daemon that no unit has started.
func byHand(m *machine) {
	m.run("systemctl", "stop", sockets[0])
	m.sh(`rm -r /run/albatross; umask 077; albatrossd >/tmp/by-hand 2>&1 & `)
	m.eventually(`albatross-client info`)
	m.requireReachable()
	m.sh(`pkill -x albatrossd`)
	m.eventually(`! pgrep -x albatrossd`)
	m.sh(`rm -r /run/albatross; systemd-tmpfiles --create; systemctl start albatrossd`)
	m.requireReachable()
}

// allFunctions: the hardened unit keeps nothing of what unikernels need from them.
func allFunctions(m *machine) {
	m.sh(`ip link add name service type bridge; ip link set service up`)
	m.run("systemctl", "restart", service)
	m.client("alice", "add-policy", "web", "4", "--mem=256", "--cpu=0", "--block=100", "--bridge=service")
	m.client("alice", "create-block", "web:data", "1")
	m.client("alice", "create", "web:net", "/payload/guests/net.spt", "--mem=32", "--net=service")
	m.client("alice", "create", "web:disk", "/payload/guests/disk.spt", "--mem=32", "--block=storage:data", "--arg=write", "--arg=kept")
	m.client("alice", "create", "web:hello", "/payload/guests/hello.spt", "--mem=32", "--arg=--quiet")
	m.eventually(`albatross-client console --no-follow web:disk | grep kept`)
	require.Contains(m.t, m.run("bridge", "link"), "master service")
	m.eventually(`albatross-client info -n web:hello | grep hello`)
	pid := strings.TrimSpace(m.sh(`pgrep -f -- 'hello' | head -1; true`))
	cgroups := m.sh(`find /sys/fs/cgroup/albatross-var-lib-albatross -name memory.max | xargs grep -H . `)
	require.Regexp(m.t, `hello\S*/memory.max:\d+`, cgroups)
	m.run("systemctl", "restart", service)
	require.Contains(m.t, m.client("alice", "info"), "web:hello")
	require.Equal(m.t, pid, strings.TrimSpace(m.sh(`pgrep -f -- 'hello' | head -1; true`)), "it is taken over")
	m.client("alice", "restart", "web:hello")
	m.client("alice", "destroy", "web:net")
	m.client("alice", "destroy", "web:hello")
	require.Empty(m.t, m.sh(`bridge link`))
}

// theClock: whoever follows goes on, commands are carried out, and a trial takes as long as it takes, when
// somebody sets the clock of the machine.
func theClock(m *machine) {
	m.client("alice", "create", "web:ticking", "/payload/guests/hello.spt", "--mem=32")
	m.sh(`albatross-client console web:ticking >/tmp/ticks 2>&1 & albatross-client events >/tmp/told 2>&1 & albatross-client stats >/tmp/measured 2>&1 &`)
	m.eventually(`grep -q tick /tmp/ticks`)
	for _, by := range []string{"5 hours", "11 hours ago", "6 hours"} {
		ticks, told, measured := m.lines("/tmp/ticks"), m.lines("/tmp/told"), m.lines("/tmp/measured")
		m.sh(`date -s '` + by + `'`)
		m.client("alice", "create", "--force", "web:ticking", "/payload/guests/hello.spt", "--mem=32", "--health=exit-free=2s")
		m.run("systemctl", "restart", service)
		m.eventually(`albatross-client info web:ticking | grep -w healthy`)
		m.until("followers go on", func() bool {
			return m.lines("/tmp/ticks") > ticks && m.lines("/tmp/told") > told && m.lines("/tmp/measured") > measured
		})
	}
	m.sh(`pkill -x albatross-clien`)
	m.client("alice", "destroy", "web:ticking")
}

// lines returns how many lines a file has.
func (m *machine) lines(file string) (n int) {
	m.t.Helper()
	_, err := fmt.Sscan(m.run("wc", "-l", file), &n)
	require.NoError(m.t, err)
	return n
}

// namedNetworks: the hardened unit keeps nothing of what networks need from them, and the process
// of a network outlives the daemon.
func namedNetworks(m *machine) {
	m.client("alice", "network", "create", "inside", "--ipv6=fd00:7::/64")
	m.client("alice", "create", "served", "/payload/guests/web.spt", "--mem=32", "--net=service:inside", "--publish=18080:80")
	const get = `exec 3<>/dev/tcp/127.0.0.1/18080 && printf 'GET / HTTP/1.0\r\n\r\n' >&3 && grep -q served <&3`
	m.eventually(`timeout 5 bash -c "` + get + `"`)
	process := m.sh(`pgrep -x albatross-netwo`)
	require.NotContains(m.t, m.sh(`ps -o user= -p `+strings.TrimSpace(process)), "root")
	m.run("systemctl", "restart", service)
	require.Equal(m.t, process, m.sh(`pgrep -x albatross-netwo`))
	m.sh(`timeout 5 bash -c "` + get + `"`)
	require.Contains(m.t, m.client("alice", "network", "show", "inside"), "published 18080:80")
	require.Equal(m.t, "0\n", m.run("cat", "/proc/sys/net/ipv4/ip_forward"))
	m.client("alice", "destroy", "served")
	m.client("alice", "network", "remove", "inside")
	require.NotContains(m.t, m.sh(`ip link`), "inside")
	m.sh(`! pgrep -x albatross-netwo`)
	require.NotContains(m.t, m.run("journalctl", "-u", service, "-p", "err", "-o", "cat"), "network")
}

// theEndpoint runs as its own user, and commands come to it over TLS.
func theEndpoint(m *machine) {
	m.sh(`mkdir -p /root/ca /etc/albatross; cd /root/ca
albatross-client generate ca db
cp cacert.pem server.pem server.key /etc/albatross/
systemctl start albatross-tls-endpoint.socket
albatross-client add-policy eve 3 --mem=128 --cpu=0 --csr
albatross-client sign cacert.pem db ca.key eve.req`)
	remote := "cd /root/ca; albatross-client %s -d 127.0.0.1 --ca eve.pem --ca-key eve.key --server-ca cacert.pem"
	m.sh(fmt.Sprintf(remote, "create far /payload/guests/hello.spt --mem=32 --arg=--quiet"))
	require.Contains(m.t, m.client("alice", "info"), "eve:far")
	require.NotEqual(m.t, "root", strings.TrimSpace(m.sh(`ps -o user= -p $(systemctl show -P MainPID albatross-tls-endpoint)`)))
	m.run("systemctl", "restart", service)
	m.run("systemctl", "reload", "albatross-tls-endpoint.service")
	m.sh(fmt.Sprintf(remote, "destroy far"))
	m.run("systemctl", "is-active", "albatross-tls-endpoint.service")
}

// influx runs as its own user, and goes on when the daemon is another one.
func influx(m *machine) {
	m.client("alice", "create", "measured", "/payload/guests/hello.spt", "--mem=32", "--arg=--quiet")
	m.sh(`systemd-run --unit=taker /payload/agent take /tmp/influx; systemctl start albatross-influx`)
	m.eventually(`grep measured /tmp/influx`)
	m.run("systemctl", "restart", service)
	before := m.run("wc", "-c", "/tmp/influx")
	m.until("more is pushed", func() bool { return m.run("wc", "-c", "/tmp/influx") != before })
	m.sh(`systemctl stop albatross-influx; systemctl stop taker || :`) // it ends with who pushes
	m.client("alice", "destroy", "measured")
}

// theJournal has a priority for each line, and one time. What the daemon was doing
// that a watchdog ends is not in it.
func theJournal(m *machine) {
	require.Contains(m.t, m.run("journalctl", "-u", service, "-p", "info", "-o", "cat"), "A command was carried out")
	require.NotContains(m.t, m.run("journalctl", "-u", service, "-o", "cat"), "time=")
	m.client("alice", "create", "killed", "/payload/guests/hello.spt", "--mem=32", "--arg=--quiet")
	m.sh(`for f in /sys/fs/cgroup/albatross-var-lib-albatross/*killed*/cgroup.procs; do kill -9 $(cat $f); done`)
	warnings := func() string { return m.run("journalctl", "-u", service, "-p", "warning", "-o", "cat") }
	m.until("the end is a warning", func() bool {
		return regexp.MustCompile(`Unikernel exited.*killed.*signal 9`).MatchString(warnings())
	})
	require.NotContains(m.t, warnings(), "A command was carried out")
	lines := strings.Count(m.run("journalctl", "-u", service, "-o", "cat"), "\n")
	m.sh(`kill -ABRT $(systemctl show -P MainPID albatrossd)`)
	m.eventually(`journalctl -u albatrossd -p err -o cat | grep SIGABRT`)
	m.client("alice", "info")
	require.Less(m.t, strings.Count(m.run("journalctl", "-u", service, "-o", "cat"), "\n")-lines, 30)
	m.run("grep", "-q", "goroutine", "/run/albatross/aborted.txt")
}

// confinement: the units leave the tenders what they need to give up all privileges.
func confinement(m *machine) {
	m.client("alice", "create", "confined", "/payload/guests/hello.spt", "--mem=32", "--arg=--quiet")
	tender := strings.TrimSpace(m.sh(`cat /sys/fs/cgroup/albatross-var-lib-albatross/*confined*/cgroup.procs`))
	m.eventually(`grep -q '^Seccomp:.2' /proc/` + tender + `/status`)
	status := m.run("cat", "/proc/"+tender+"/status")
	pid, err := strconv.Atoi(tender)
	require.NoError(m.t, err)
	require.Contains(m.t, status, fmt.Sprintf("\nUid:\t%d\t", confine.Own(pid)))
	for _, set := range []string{"CapPrm", "CapEff", "CapBnd"} {
		require.Contains(m.t, status, "\n"+set+":\t0000000000000000\n")
	}
	require.Equal(m.t, "/run/albatross/empty\n", m.run("readlink", "/proc/"+tender+"/root"))
	missing := m.run("journalctl", "-u", service, "-g", "confined less", "-o", "cat")
	require.Contains(m.t, missing, "tenders have no namespaces of their own: CAP_SYS_ADMIN is missing")
	require.NotContains(m.t, missing, "users of their own")
	require.NotContains(m.t, missing, "root directory")

	m.run("systemctl", "restart", service, "albatross-keeper") // which take it over
	m.client("alice", "destroy", "confined")
	m.sh(`! kill -0 ` + tender)
}

// theFileSystem is that of the tests of Landlock, which the kernel of Debian has.
func theFileSystem(m *machine) {
	require.Contains(m.t, m.run("cat", "/sys/kernel/security/lsm"), "landlock")
	out := m.run("/payload/landlock.test", "-test.v")
	require.Contains(m.t, out, "--- PASS: TestNothingIsLeftOfTheFileSystem")
	require.Contains(m.t, out, "--- PASS: TestAllThreadsAreRestricted")
	require.Contains(m.t, out, "--- PASS: TestOnlyNewFilesInADirectory")
}

// sealedImages are those of a file system with fs-verity, which the kernel of Debian has.
func sealedImages(m *machine) {
	require.Contains(m.t, m.run("/payload/store.test", "-test.v", "-test.run=^TestSealedImages$"), "--- PASS: TestSealedImages")
}

// theKeeper knows how unikernels end that another daemon has started, or while none runs: this
// kernel tells that to nobody but their parent.
func theKeeper(m *machine) {
	for _, name := range []string{"restarted", "stopped"} {
		m.client("alice", "create", name, "/payload/guests/hello.spt", "--mem=32", "--arg=--quiet")
	}
	kill := func(name string) {
		m.sh(`for f in /sys/fs/cgroup/albatross-var-lib-albatross/*` + name + `*/cgroup.procs; do kill -9 $(cat $f); done`)
	}
	known := func(name string) {
		m.until("the end of "+name+" is known", func() bool {
			return strings.Contains(m.client("alice", "exits", "-n", name, "--output=native"), "signal 9 at 20")
		})
	}
	m.run("systemctl", "restart", service)
	m.client("alice", "info", "-n", "restarted")
	kill("restarted")
	known("restarted")
	m.run(append([]string{"systemctl", "stop", service}, sockets...)...)
	kill("stopped")
	m.sh(`systemctl start albatrossd.service`)
	known("stopped")
}

// theUnitOfTheKeeper is started with the daemon, and is there again if it fails. It goes on
// when the daemon is stopped, and unikernels go on when it is.
func theUnitOfTheKeeper(m *machine) {
	m.client("alice", "create", "printer", "/payload/guests/hello.spt", "--mem=32")
	m.eventually(`albatross-client console --no-follow printer | grep tick`)
	main := func() string {
		return strings.TrimSpace(m.run("systemctl", "show", "-P", "MainPID", "albatross-keeper"))
	}
	alone := func(pid string) { // it runs, and nothing else of its kind does
		require.Equal(m.t, pid, strings.TrimSpace(m.run("pgrep", "-x", "albatross-keepe")), "names are cut off")
		require.Equal(m.t, pid, main())
	}
	keeper := main()
	alone(keeper)
	tender := strings.TrimSpace(m.sh(`cat /sys/fs/cgroup/albatross-var-lib-albatross/*printer*/cgroup.procs`))
	require.Equal(m.t, keeper, strings.TrimSpace(m.run("ps", "-o", "ppid=", "-p", tender)))

	m.run(append([]string{"systemctl", "stop", service}, sockets...)...)
	alone(keeper)
	m.run("systemctl", "start", service)
	alone(keeper)

	m.run("kill", "-9", keeper)
	m.until("systemd starts it again", func() bool { pid := main(); return pid != "0" && pid != keeper })
	m.eventually(`journalctl -u albatrossd -o cat | grep -q 'The keeper is used again.*pid='$(systemctl show -P MainPID albatross-keeper)`)
	alone(main())
	m.sh(`kill -0 ` + tender)

	m.run("systemctl", "stop", "albatross-keeper")
	m.sh(`kill -0 ` + tender)
	m.eventually(`pgrep -x albatross-keepe`) // the daemon's own
	m.fails("systemctl", "start", "albatross-keeper")
	m.run("systemctl", "restart", service)
	m.sh(`kill -0 ` + tender)
	before := m.client("alice", "console", "--no-follow", "printer")
	m.until("its console is read", func() bool { return m.client("alice", "console", "--no-follow", "printer") != before })
	m.client("alice", "destroy", "printer")

	m.run(append([]string{"systemctl", "stop", service}, sockets...)...)
	m.sh(`pkill -x albatross-keepe || :`) // the daemon's own, if it still keeps something
	m.eventually(`! pgrep -x albatross-keepe`)
	m.run("systemctl", "start", service)
	alone(main())
}

// tries is how often the service is stopped under clients.
const tries = 20

// stopping: the service and its sockets stay stopped, however many clients connect
// again and again.
func stopping(m *machine) {
	m.client("alice", "create", "followed", "/payload/guests/hello.spt", "--mem=32", "--arg=--quiet")
	// One client follows a console, and as soon as it is cut off it comes again, at
	// whatever socket listens.
	m.sh(`systemd-run --unit=clients sh -c 'while :; do albatross-client console followed; done & while :; do albatross-client info; sleep 0.5; done'`)
	for i := range tries {
		m.eventually(`systemctl is-active albatrossd && ss -xH state connected | grep -q albatross/util/console.sock`)
		units := append([]string{service}, sockets...)
		if i%2 == 1 { // whatever comes first
			units = append(append([]string{}, sockets[i/2%4:]...), append(append([]string{}, sockets[:i/2%4]...), service)...)
		}
		m.run(append([]string{"systemctl", "stop"}, units...)...)
		m.eventually(`test -z "$(systemctl list-jobs --no-legend 'albatrossd*')"`)
		require.NotContains(m.t, "\n"+m.sh(`systemctl is-active `+strings.Join(units, " ")+` || :`), "\nactive", "after try %d", i)
		m.fails("pgrep", "-x", "albatrossd")
		m.sh(`systemctl start albatrossd.service`)
		m.logf("try %d: all of it stays stopped", i+1)
	}
	m.sh(`systemctl stop clients`)
	m.client("alice", "destroy", "followed")
}

// exposure: README has the figures of systemd.
func exposure(m *machine) {
	readme, err := os.ReadFile("../../README.md")
	require.NoError(m.t, err)
	for _, unit := range []string{"albatrossd", "albatross-keeper", "albatross-tls-endpoint", "albatross-influx"} {
		text := m.sh(`systemd-analyze security ` + unit + `.service | tail -1`)
		figure := regexp.MustCompile(unit + `.service: (\d+\.\d)`).FindStringSubmatch(text)
		require.Len(m.t, figure, 2, text)
		require.Contains(m.t, string(readme), fmt.Sprintf("| `%s.service` | %s |", unit, figure[1]))
	}
}
