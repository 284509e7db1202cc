// Package vm tests the programs and the units on a Debian 12 that has been booted in
// a virtual machine, as an operator installs them. `make vm-test` builds the machine and
// runs these tests.
package vm

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"albatross/test/guests"
	"albatross/test/programs"
)

const (
	// bootLimit is for a busy machine: without KVM a boot takes a minute on an idle one.
	bootLimit = 10 * time.Minute
	// limit is for whatever else has to happen.
	limit = 5 * time.Minute
)

// A machine is a virtual one, with a disk of its own.
type machine struct {
	t    *testing.T
	dir  string
	qemu *exec.Cmd

	port net.Conn // to the agent
	mu   sync.Mutex
	last int
	open map[int]chan answer
}

// An answer is how a program in the machine has ended.
type answer struct {
	ID   int    `json:"id"`
	Exit int    `json:"exit"`
	Out  string `json:"out"`
}

// prepared is the directory that prepare.sh has made.
func prepared(t *testing.T) string {
	base := os.Getenv("ALBATROSS_VM")
	if base == "" {
		t.Skip("needs a virtual machine: use make vm-test")
	}
	return base
}

// newMachine boots a machine on which nothing of ours is installed.
func newMachine(t *testing.T) *machine {
	base := prepared(t)
	dir, err := os.MkdirTemp("", "vm")
	require.NoError(t, err)
	m := &machine{t: t, dir: dir}
	t.Cleanup(m.end)
	for _, name := range []string{"vmlinuz", "initrd"} {
		require.NoError(t, os.Symlink(filepath.Join(base, name), m.path(name)))
	}
	host(m.t, "cp", "--sparse=always", filepath.Join(base, "root.ext4"), m.path("root.ext4"))
	m.makePayload()
	m.boot()
	return m
}

func (m *machine) path(name string) string { return filepath.Join(m.dir, name) }

// host runs a program outside of any machine.
func host(t *testing.T, program string, args ...string) {
	t.Helper()
	out, err := exec.Command(program, args...).CombinedOutput()
	require.NoError(t, err, "%s: %s", program, out)
}

// makePayload makes the disk from which an operator installs.
func (m *machine) makePayload() {
	dir := m.path("payload")
	for _, sub := range []string{"bin", "guests"} {
		require.NoError(m.t, os.MkdirAll(filepath.Join(dir, sub), 0o755))
	}
	require.NoError(m.t, programs.Build(filepath.Join(dir, "bin"),
		"albatrossd", "albatross-client", "albatross-tender", "albatross-keeper", "albatross-network", "albatross-influx", "albatross-tls-endpoint"))
	for _, args := range [][]string{
		{"build", "-o", filepath.Join(dir, "agent"), "./agent"},
		{"test", "-c", "-o", filepath.Join(dir, "landlock.test"), "../../runtime/landlock"},
		{"test", "-c", "-o", filepath.Join(dir, "store.test"), "../../runtime/store"},
	} {
		build := exec.Command("go", args...)
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		out, err := build.CombinedOutput()
		require.NoError(m.t, err, "%s", out)
	}
	host(m.t, "cp", "-r", "../../packaging/systemd", filepath.Join(dir, "units"))
	host(m.t, "cp", "../../packaging/albatrossd.toml", dir)
	for _, name := range []string{"hello", "net", "disk", "chatty", "web"} {
		require.NoError(m.t, os.WriteFile(filepath.Join(dir, "guests", name+".spt"), guests.Image(name, "spt"), 0o644))
	}
	host(m.t, "mkfs.ext4", "-q", "-d", dir, m.path("payload.ext4"), "256M")
}

// boot starts the machine, and waits until programs can be run there.
func (m *machine) boot() {
	m.t.Helper()
	_ = os.Remove(m.path("port"))
	m.qemu = exec.Command("nice", "-n", "10", "qemu-system-x86_64",
		"-M", "pc", "-accel", "tcg", "-cpu", "max", "-smp", "1", "-m", "1024",
		"-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
		"-kernel", m.path("vmlinuz"), "-initrd", m.path("initrd"),
		"-append", "console=ttyS0 quiet panic=-1 mitigations=off clocksource=acpi_pm cryptomgr.notests systemd.mask=systemd-udevd.service systemd.mask=systemd-udev-trigger.service systemd.mask=systemd-udevd-kernel.socket systemd.mask=systemd-udevd-control.socket",
		"-serial", "file:"+m.path("console"),
		// What has been written is on disk when the machine is told so, and not before.
		"-drive", "if=virtio,format=raw,cache=writethrough,file="+m.path("root.ext4"),
		"-drive", "if=virtio,format=raw,readonly=on,file="+m.path("payload.ext4"),
		"-device", "virtio-serial-pci",
		"-chardev", "socket,id=port,server=on,wait=off,path="+m.path("port"),
		"-device", "virtserialport,chardev=port,name=agent")
	m.qemu.Stderr = os.Stderr
	require.NoError(m.t, m.qemu.Start())
	m.until("the port is there", func() bool {
		var err error
		m.port, err = net.Dial("unix", m.path("port"))
		return err == nil
	})
	m.open = map[int]chan answer{0: make(chan answer, 1)}
	up := m.open[0]
	go m.read(m.port, m.open)
	select {
	case _, ok := <-up:
		require.True(m.t, ok, "the machine has gone")
	case <-time.After(bootLimit):
		require.FailNow(m.t, "the machine does not boot")
	}
}

// read passes on answers until the machine has gone.
func (m *machine) read(port net.Conn, open map[int]chan answer) {
	answers := json.NewDecoder(port)
	for {
		var a answer
		err := answers.Decode(&a)
		m.mu.Lock()
		if err != nil {
			for _, c := range open {
				close(c)
			}
			clear(open)
			m.mu.Unlock()
			return
		}
		open[a.ID] <- a
		delete(open, a.ID)
		m.mu.Unlock()
	}
}

// try runs a program in the machine. It is not known how that has ended where the
// machine has gone meanwhile.
func (m *machine) try(args ...string) (answer, bool) {
	m.mu.Lock()
	m.last++
	c := make(chan answer, 1)
	m.open[m.last] = c
	request, err := json.Marshal(struct {
		ID   int      `json:"id"`
		Args []string `json:"args"`
	}{m.last, args})
	if err == nil {
		_, err = m.port.Write(append(request, '\n'))
	}
	m.mu.Unlock()
	if err != nil {
		return answer{}, false
	}
	select {
	case a, ok := <-c:
		return a, ok
	case <-time.After(limit):
		return answer{Exit: -1, Out: "it takes too long"}, true
	}
}

// run is try for what must succeed. It returns what is printed.
func (m *machine) run(args ...string) string {
	m.t.Helper()
	a, ok := m.try(args...)
	require.True(m.t, ok, "the machine has gone")
	require.Zero(m.t, a.Exit, "%s: %s", strings.Join(args, " "), a.Out)
	return a.Out
}

// sh is run for a script of the shell.
func (m *machine) sh(script string) string {
	m.t.Helper()
	return m.run("sh", "-ec", script)
}

// fails is try for what must fail.
func (m *machine) fails(args ...string) string {
	m.t.Helper()
	a, ok := m.try(args...)
	require.True(m.t, ok, "the machine has gone")
	require.NotZero(m.t, a.Exit, "%s: %s", strings.Join(args, " "), a.Out)
	return a.Out
}

// eventually waits until a script succeeds.
func (m *machine) eventually(script string) {
	m.t.Helper()
	var last answer
	m.until(script, func() bool {
		var ok bool
		last, ok = m.try("sh", "-ec", script)
		require.True(m.t, ok, "the machine has gone")
		return last.Exit == 0
	})
}

// until waits until something holds.
func (m *machine) until(what string, holds func() bool) {
	m.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			require.FailNow(m.t, "it never holds that "+what)
		}
	}
}

// cutPower ends the machine as that does.
func (m *machine) cutPower() {
	m.t.Helper()
	require.NoError(m.t, m.qemu.Process.Kill())
	_ = m.qemu.Wait()
	_ = m.port.Close()
	m.qemu = nil
}

func (m *machine) end() {
	if m.t.Failed() && m.qemu != nil {
		for _, args := range [][]string{
			{"journalctl", "-b", "--no-pager", "-n", "100"},
			{"systemctl", "list-jobs"},
		} {
			if a, ok := m.try(args...); ok {
				m.t.Log(a.Out)
			}
		}
		text, _ := os.ReadFile(m.path("console"))
		m.t.Logf("the console: %s", text[max(0, len(text)-4000):])
	}
	if m.qemu != nil {
		m.cutPower()
	}
	require.NoError(m.t, os.RemoveAll(m.dir))
}

// The units of the daemon.
var (
	sockets = []string{"albatrossd-vmmd.socket", "albatrossd-console.socket", "albatrossd-stat.socket", "albatrossd-control.socket"}
	service = "albatrossd.service"
)

// install does what `make install` does, and then what README says.
func (m *machine) install() {
	m.t.Helper()
	m.sh(`cp /payload/bin/* /usr/local/bin/
install -D -m 644 /payload/albatrossd.toml /etc/albatross/albatrossd.toml
cp /payload/units/*.service /payload/units/*.socket /etc/systemd/system/
cp /payload/units/albatross.sysusers.conf /usr/lib/sysusers.d/albatross.conf
cp /payload/units/albatross.tmpfiles.conf /usr/lib/tmpfiles.d/albatross.conf
systemctl daemon-reload
systemd-sysusers
systemd-tmpfiles --create
systemctl enable --now albatrossd.service
sync`)
}

// client runs our client as a user.
func (m *machine) client(user string, args ...string) string {
	m.t.Helper()
	return m.run(asUser(user, args...)...)
}

func asUser(user string, args ...string) []string {
	return slices.Concat([]string{"runuser", "-u", user, "--", "albatross-client"}, args)
}

func (m *machine) logf(format string, args ...any) {
	m.t.Log(time.Now().Format(time.TimeOnly), fmt.Sprintf(format, args...))
}
