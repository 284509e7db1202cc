package main

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"albatross/cmd/nativestate"
	"albatross/messages"
	"albatross/runtime/store"
	"albatross/runtime/tender"
)

// A remains counts what a daemon has left behind.
type remains struct {
	images, consoles, pipes, devices int
	processes                        []string // whose output is a console pipe
}

// checkRemains refuses to create an empty database if there are remains that only a lost one
// explains. Block devices alone are no reason: they may come from native albatross or an
// operator.
func checkRemains(o options, log *slog.Logger) error {
	missing, err := store.Missing(o.dbdir)
	if err != nil || !missing {
		return err
	}
	found, err := countRemains(o)
	if err != nil {
		return err
	}
	if found.lost(o) {
		if answered(o) {
			return fmt.Errorf("cannot begin with a new database beside what uses %s: another daemon listens there", utilDir(o))
		}
		return found.refusal(o)
	}
	if found.devices > 0 && !nativeLeft(o) {
		log.Info("The database is new; block devices that are there are used", "count", found.devices)
	}
	return nil
}

// lost reports whether a database must have been there.
func (s remains) lost(o options) bool {
	if s.images+s.consoles == 0 && nativeLeft(o) { // whose import explains the pipes
		return false
	}
	return s.images+s.consoles+s.pipes+len(s.processes) > 0
}

// nativeLeft reports whether there is a state of native albatross to import.
func nativeLeft(o options) bool {
	_, err := os.Lstat(filepath.Join(o.dbdir, nativestate.File))
	return err == nil
}

// answered reports whether a daemon runs already. If systemd has opened our sockets, they
// do not show that, and there is no other daemon.
func answered(o options) bool {
	if os.Getenv("LISTEN_FDS") != "" {
		return false
	}
	c, err := net.Dial("unix", filepath.Join(utilDir(o), "vmmd.sock"))
	if err != nil {
		return false
	}
	_ = c.Close()
	return true
}

func countRemains(o options) (s remains, err error) {
	var errs [4]error
	s.images, errs[0] = countFiles(filepath.Join(o.dbdir, store.ImageDir), isDigest)
	s.consoles, errs[1] = countFiles(historyDir(o), isName)
	s.pipes, errs[2] = countFiles(fifoDir(o), isName)
	s.devices, errs[3] = countFiles(blockDir(o), isName)
	s.processes = writers(fifoDir(o))
	return s, errors.Join(errs[:]...)
}

func countFiles(dir string, ours func(string) bool) (n int, err error) {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return 0, fmt.Errorf("cannot look for what a former daemon has left: %w", err)
	}
	for _, e := range entries {
		if ours(e.Name()) {
			n++
		}
	}
	return n, nil
}

func isDigest(file string) bool {
	b, err := hex.DecodeString(file)
	return err == nil && len(b) == len(messages.Digest{})
}

func isName(file string) bool {
	name, err := messages.ParseName(file)
	return err == nil && name.String() == strings.ToLower(file)
}

// writers returns the processes whose standard output is in a directory, also if the file
// is gone: tenders, and guests.
func writers(dir string) (pids []string) {
	dir = tender.Resolve(dir)
	outputs, _ := filepath.Glob("/proc/[0-9]*/fd/1") // the pattern is valid
	for _, output := range outputs {
		if target, err := os.Readlink(output); err == nil && strings.HasPrefix(target, dir+"/") {
			pids = append(pids, strings.Split(output, "/")[2])
		}
	}
	slices.SortFunc(pids, func(a, b string) int { x, _ := strconv.Atoi(a); y, _ := strconv.Atoi(b); return x - y })
	return pids
}

func (s remains) refusal(o options) error {
	var found []string
	for _, f := range []struct {
		n    int
		what string
	}{
		{len(s.processes), "running unikernels (processes " + strings.Join(s.processes, ", ") + ")"},
		{s.pipes, "console pipes in " + fifoDir(o)},
		{s.images, "images in " + filepath.Join(o.dbdir, store.ImageDir)},
		{s.consoles, "console histories in " + historyDir(o)},
		{s.devices, "block devices in " + blockDir(o)},
	} {
		if f.n > 0 {
			found = append(found, fmt.Sprintf("%d %s", f.n, f.what))
		}
	}
	path := filepath.Join(o.dbdir, store.DBFile)
	return fmt.Errorf("cannot begin: the database %s is empty or gone, but a former daemon has left %s; nothing was changed: "+
		"%s, or, to start with nothing, end the processes and move the pipes, images and console histories away",
		path, strings.Join(found, ", "), store.Restoring(o.dbdir))
}
