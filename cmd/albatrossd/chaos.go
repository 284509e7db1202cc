package main

import (
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/BurntSushi/toml"

	"albatross/actors"
	"albatross/actors/supervise"
)

// maxDelay bounds what a delay of --chaos may be: a longer one is no rehearsal, but an outage.
const maxDelay = time.Minute

// A chaosFile is the file of --chaos.
type chaosFile struct {
	Seed  uint64       // of what is drawn
	Fault []chaosFault // as [[fault]]
}

// A chaosFault is one rule: what goes wrong with which messages, and how often.
type chaosFault struct {
	Kind        string        // of the fault, such as crash-before
	Actor       string        // the kind of the receiving actor; empty: any
	Message     string        // the type of the message, as the log prints it; empty: any
	Probability float64       // of the fault, for each message
	Nth         int           // instead of Probability: the only message with the fault, from 1 on
	For         time.Duration // the duration of delay and reorder
}

// chaos injects faults into the actors of this daemon, as a file says that only root, or whoever runs
// the daemon, can write. SIGHUP has it read again.
type chaos struct {
	path   string
	log    *slog.Logger
	faults *supervise.Faults

	mu       sync.Mutex
	injected map[supervise.Fault]int // since the daemon has started
}

// readChaos returns what --chaos asks for; nil: the daemon has no such option.
func readChaos(path string, log *slog.Logger) (*chaos, error) {
	if path == "" {
		return nil, nil
	}
	c := &chaos{path: path, log: log, faults: supervise.NewFaults(0, nil), injected: map[supervise.Fault]int{}}
	c.faults.Tell(c.tell)
	return c, c.read()
}

// reader returns what reads the file again; nil: there is none.
func (c *chaos) reader() func() error {
	if c == nil {
		return nil
	}
	return c.read
}

// read replaces all rules by those of the file. If they are wrong, the former ones stay.
func (c *chaos) read() error {
	text, err := configText(c.path)
	if err != nil {
		return fmt.Errorf("cannot read --chaos: %w", err)
	}
	seed, rules, err := parseChaos(text)
	if err != nil {
		return fmt.Errorf("cannot use --chaos %s: %w", c.path, err)
	}
	c.report()
	c.faults.Reseed(seed)
	c.faults.Set(rules...)
	c.log.Warn("CHAOS: faults are injected into this daemon on purpose", "file", c.path, "rules", len(rules), "seed", seed)
	return nil
}

func parseChaos(text string) (seed uint64, rules []supervise.Rule, err error) {
	var file chaosFile
	meta, err := toml.Decode(text, &file)
	if err != nil {
		return 0, nil, err
	}
	if unknown := meta.Undecoded(); len(unknown) > 0 {
		return 0, nil, fmt.Errorf("there is no key %s: a [[fault]] has kind, actor, message, probability or nth, and for", unknown[0])
	}
	for i, f := range file.Fault {
		rule, err := f.rule()
		if err != nil {
			return 0, nil, fmt.Errorf("fault %d: %w", i+1, err)
		}
		rules = append(rules, rule)
	}
	return file.Seed, rules, nil
}

func (f chaosFault) rule() (supervise.Rule, error) {
	fault, err := supervise.ParseFault(f.Kind)
	switch {
	case err != nil:
		return supervise.Rule{}, err
	case f.Nth < 0 || f.Nth == 0 && !(f.Probability > 0 && f.Probability <= 1) || f.Nth > 0 && f.Probability != 0:
		return supervise.Rule{}, errors.New("it needs a probability, greater than 0 and up to 1, or nth, from 1 on")
	case f.For < 0 || f.For > maxDelay:
		return supervise.Rule{}, fmt.Errorf("a time of %v is not possible: up to %v is", f.For, maxDelay)
	}
	return actors.Injectable(supervise.Rule{
		Fault: fault, Kind: f.Actor, Type: f.Message, Probability: f.Probability, Nth: f.Nth, For: f.For,
	})
}

// tell logs and counts a fault.
func (c *chaos) tell(i supervise.Injected) {
	c.log.Warn("CHAOS: fault injected", "fault", i.Fault, "actor", i.Actor, "message", i.Type)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.injected[i.Fault]++
}

// report logs what was injected since the start.
func (c *chaos) report() {
	c.mu.Lock()
	defer c.mu.Unlock()
	var counts []any
	for f := supervise.CrashBefore; f <= supervise.Drop; f++ {
		counts = append(counts, slog.Int(f.String(), c.injected[f]))
	}
	c.log.Warn("CHAOS: faults injected since the start", counts...)
}
