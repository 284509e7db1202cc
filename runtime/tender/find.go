package tender

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"

	"albatross/runtime/image"
)

// A Policy says which tenders may be used.
type Policy int

// Auto prefers an installed tender, and otherwise uses the built-in one.
const (
	Auto Policy = iota
	Builtin
	Installed
)

var policyNames = []string{Auto: "auto", Builtin: "builtin", Installed: "installed"}

// ParsePolicy parses what String writes.
func ParsePolicy(s string) (Policy, error) {
	for p, name := range policyNames {
		if s == name {
			return Policy(p), nil
		}
	}
	return Auto, fmt.Errorf("cannot understand %q: auto, builtin or installed expected", s)
}

func (p Policy) String() string { return policyNames[p] }

// A Tender is a program that runs images of one target and ABI version.
type Tender struct {
	Program string
	Prefix  []string // arguments before those of Args
	Builtin bool
}

// command identifies a tender among all: our own is one for each target.
func (t Tender) command() string { return strings.Join(append([]string{t.Program}, t.Prefix...), " ") }

// A Finder finds tenders. Its fields do not change once it is in use; its methods may be
// called concurrently. Paths are absolute.
type Finder struct {
	Dir     string // searched first: the database directory
	Path    string // searched next: a PATH; relative directories in it are skipped
	Builtin string // path of albatross-tender; empty: there is none
	Policy  Policy

	mu     sync.Mutex
	known  map[string]verdict   // by command
	asking map[string]*question // by command; the questions under way
}

// A candidate is a tender whose version is not known yet.
type candidate = Tender

// Find returns a tender for images of a target and ABI version. It runs candidates to
// learn their version, but none a second time unless it has changed. The error tells the
// user what to do about it.
func (f *Finder) Find(ctx context.Context, target image.Target, version uint32) (Tender, error) {
	return f.find(ctx, target, version, f.candidates(target, version))
}

// FindOwn is Find for a guest that needs our own tender: a pair is understood by no other.
func (f *Finder) FindOwn(ctx context.Context, target image.Target, version uint32) (Tender, error) {
	own := slices.DeleteFunc(f.candidates(target, version), func(c candidate) bool { return !c.Builtin })
	if len(own) == 0 {
		return Tender{}, errors.New("cannot attach a network without a tap: only our own tender can (the host's operator can allow it by --tender=auto)")
	}
	return f.find(ctx, target, version, own)
}

func (f *Finder) find(ctx context.Context, target image.Target, version uint32, candidates []candidate) (Tender, error) {
	if target != image.HVT && target != image.SPT {
		return Tender{}, fmt.Errorf("cannot run a %v image: this host runs hvt and spt only", target)
	}
	var rejected []string
	for _, c := range candidates {
		err := f.check(ctx, c, version)
		if err == nil {
			return c, nil
		}
		if ctx.Err() != nil {
			return Tender{}, fmt.Errorf("cannot look for a tender: %w", ctx.Err())
		}
		if !errors.Is(err, os.ErrNotExist) {
			rejected = append(rejected, fmt.Sprintf("%s %v", c.Program, err))
		}
	}
	return Tender{}, f.notFound(target, version, rejected)
}

// installed matches the possible names of Solo5's tenders; see names.
var installed = regexp.MustCompile(`^solo5-(spt|hvt)(\.\d+)?$`)

// Programs returns all existing tenders, whatever images they can run.
func (f *Finder) Programs() (paths []string) {
	if f.Policy != Builtin {
		for _, dir := range f.dirs() {
			entries, _ := os.ReadDir(dir) // not every directory in PATH exists
			for _, e := range entries {
				if installed.MatchString(e.Name()) {
					paths = append(paths, filepath.Join(dir, e.Name()))
				}
			}
		}
	}
	if f.Policy != Installed && f.Builtin != "" {
		paths = append(paths, f.Builtin)
	}
	return paths
}

// candidates returns all that may be used, best first, whether they exist or not.
func (f *Finder) candidates(target image.Target, version uint32) []candidate {
	var all []candidate
	if f.Policy != Builtin {
		for _, name := range names(target, version) {
			for _, dir := range f.dirs() {
				all = append(all, candidate{Program: filepath.Join(dir, name)})
			}
		}
	}
	if f.Policy != Installed && f.Builtin != "" {
		all = append(all, candidate{Program: f.Builtin, Prefix: []string{target.String()}, Builtin: true})
	}
	return all
}

// names returns the possible names of a tender, best first.
func names(target image.Target, version uint32) []string {
	base := "solo5-" + target.String()
	return []string{fmt.Sprintf("%s.%d", base, version), base}
}

func (f *Finder) dirs() []string {
	dirs := []string{f.Dir}
	for _, dir := range filepath.SplitList(f.Path) {
		if filepath.IsAbs(dir) { // others depend on where the daemon was started
			dirs = append(dirs, dir)
		}
	}
	return dirs
}

// notFound says what was looked for, where, what was found instead, and what to do.
func (f *Finder) notFound(target image.Target, version uint32, rejected []string) error {
	var b strings.Builder
	fmt.Fprintf(&b, "cannot run a %v image: ", target)
	if f.Policy == Builtin {
		fmt.Fprintf(&b, "no built-in tender for %v ABI version %d", target, version)
	} else {
		fmt.Fprintf(&b, "no solo5-%v for ABI version %d found in %s or PATH", target, version, f.Dir)
	}
	for _, reason := range rejected {
		b.WriteString("; " + reason)
	}
	fmt.Fprintf(&b, " (%s)", f.advice())
	return errors.New(b.String())
}

func (f *Finder) advice() string {
	var advice []string
	if f.Policy != Builtin {
		advice = append(advice, "install Solo5")
	}
	if f.Policy == Installed {
		advice = append(advice, "allow the built-in tender")
	} else {
		advice = append(advice, "build the unikernel with another version of Solo5")
	}
	return strings.Join(advice, ", or ")
}
