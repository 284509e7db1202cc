package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"albatross/runtime/bridge"
	"albatross/runtime/cgroup"
	"albatross/runtime/confine"
	"albatross/runtime/hvt"
	"albatross/runtime/image"
	"albatross/runtime/landlock"
	"albatross/runtime/spt"
	"albatross/runtime/store"
	"albatross/runtime/tender"
	"albatross/runtime/trust"
)

// verifyTimeout is how long a tender may take to say what it is.
const verifyTimeout = 30 * time.Second

var errNotReady = errors.New("the daemon would not start: see what is wrong above")

// A report lists what --check finds. What is missing leaves the daemon with less, and what is wrong
// keeps it from starting.
type report struct {
	out   io.Writer
	wrong bool
}

func (r *report) line(state, what, text string) {
	// A failure to write shows in nothing but the list itself.
	_, _ = fmt.Fprintf(r.out, "%-8s %-14s %s\n", state, what, text)
}

func (r *report) ok(what, text string) { r.line("ok", what, text) }

func (r *report) must(what, fine string, err error) {
	if err != nil {
		r.wrong = true
		r.line("wrong", what, err.Error())
		return
	}
	r.ok(what, fine)
}

func (r *report) may(what, fine string, err error) {
	if err != nil {
		r.line("missing", what, err.Error())
		return
	}
	r.ok(what, fine)
}

// verify reports whether a daemon with these options could start, and what it would have to do
// without. It starts and changes nothing. A daemon may run meanwhile.
func verify(ctx context.Context, o options, out io.Writer) error {
	r := &report{out: out}
	if o.config != "" {
		r.ok("configuration", o.config)
	}
	r.user()
	err := checkPlace(o.dbdir)
	if err == nil {
		err = checkDatabaseDir(o)
	}
	r.must("--dbdir", o.dbdir, err)
	r.must("--tmpdir", o.tmpdir, checkPlace(o.tmpdir))
	r.must("owner", "of --tmpdir: no other daemon", checkOwner(o))
	r.must("database", databaseText(o), checkLost(o))
	r.programs(ctx, o)
	r.kernel()
	if r.wrong {
		return errNotReady
	}
	return nil
}

func (r *report) user() {
	var err error
	if os.Geteuid() != 0 {
		err = errors.New("not root: networks are in user mode, and unikernels are no users of their own")
	}
	r.may("user", "root", err)
	err = nil
	if group() < 0 {
		err = errors.New("there is no group albatross that this user may let use the sockets")
	}
	r.may("group", "albatross may use the sockets", err)
}

// checkPlace checks a directory, or where it would be made.
func checkPlace(dir string) error {
	err := trust.Dir(dir)
	for place := dir; errors.Is(err, fs.ErrNotExist) && place != "/"; {
		place = filepath.Dir(place)
		if err = trust.Parent(place); err == nil {
			dir = place
		}
	}
	if err != nil {
		return err
	}
	if err := unix.Access(dir, unix.W_OK|unix.X_OK); err != nil {
		return fmt.Errorf("cannot write to %s: %w (albatrossd runs as root, or with --tmpdir and --dbdir that you may write to)", dir, err)
	}
	return nil
}

// checkOwner refuses a --tmpdir that belongs to a daemon with another database.
func checkOwner(o options) error {
	former, found, err := readOwner(filepath.Join(o.tmpdir, ownerFile))
	if err != nil || !found {
		return err
	}
	if ours, err := ownerOf(o.dbdir); err == nil && former.same(ours) {
		return nil
	}
	return leftBy(former, o)
}

func databaseText(o options) string {
	if missing, err := store.Missing(o.dbdir); err == nil && !missing {
		return filepath.Join(o.dbdir, store.DBFile)
	}
	if nativeLeft(o) {
		return "the state of native albatross is imported at the first start"
	}
	return "a new one is made at the first start"
}

// programs reports what is installed beside this program, and which tenders would be used.
func (r *report) programs(ctx context.Context, o options) {
	self, err := os.Executable()
	if err != nil {
		r.must("programs", "", fmt.Errorf("cannot find them: %w", err))
		return
	}
	beside := func(name string) string { return filepath.Join(filepath.Dir(self), name) }
	installed := func(path string) error {
		if _, err := os.Stat(path); err != nil {
			return fmt.Errorf("cannot find it beside albatrossd: %w", err)
		}
		return nil
	}
	builtin := beside("albatross-tender")
	r.must("tender", builtin, installed(builtin))
	r.may("keeper", beside("albatross-keeper"), installed(beside("albatross-keeper")))
	r.may("network", beside("albatross-network"), installed(beside("albatross-network")))
	policy, err := tender.ParsePolicy(o.tender)
	if err != nil { // the options were checked
		r.must("--tender", "", err)
		return
	}
	finder := &tender.Finder{Dir: o.dbdir, Path: os.Getenv("PATH"), Builtin: builtin, Policy: policy}
	ctx, cancel := context.WithTimeout(ctx, verifyTimeout)
	defer cancel()
	r.runs(ctx, finder, image.SPT, spt.ABIVersion)
	r.runs(ctx, finder, image.HVT, hvt.ABIVersion)
}

// runs reports by which tender images of a target would be run.
func (r *report) runs(ctx context.Context, finder *tender.Finder, target image.Target, version uint32) {
	found, err := finder.Find(ctx, target, version)
	r.may("images of "+target.String(), "by "+found.Program, err)
}

// kernel reports what this kernel allows.
func (r *report) kernel() {
	device := func(path string) error {
		if err := unix.Access(path, unix.R_OK|unix.W_OK); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		return nil
	}
	r.may("hvt", "/dev/kvm", device("/dev/kvm"))
	r.may("taps", "/dev/net/tun", device("/dev/net/tun"))
	r.may("cgroups", "limit memory and CPUs", cgroup.Possible())
	r.may("networks", "of the kernel, with nftables", bridge.Possible())
	var err error
	if landlock.Version() == 0 {
		err = errors.New("this kernel has none: unikernels are confined less")
	}
	r.may("landlock", fmt.Sprintf("version %d", landlock.Version()), err)
	if _, missing := confine.Find(confine.Order{User: os.Geteuid() == 0}); len(missing) > 0 {
		r.may("confinement", "", errors.New(strings.Join(missing, "; ")))
	}
}

// checkLost refuses to begin with a new database beside what only a lost one explains.
func checkLost(o options) error {
	missing, err := store.Missing(o.dbdir)
	if err != nil || !missing {
		return err
	}
	found, err := countRemains(o)
	if err != nil || !found.lost(o) {
		return err
	}
	return found.refusal(o)
}
