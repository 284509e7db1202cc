package main

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"albatross/messages"
)

// An order is what 'top' sorts by.
type order string

const (
	byCPU    order = "cpu"
	byMemory order = "memory"
	byName   order = "name"
)

func parseOrder(s string) (order, error) {
	if o := order(s); o == byCPU || o == byMemory || o == byName {
		return o, nil
	}
	return "", fmt.Errorf("invalid value '%s', expected cpu, memory or name", escape(s))
}

// topOptions say what 'top' shows.
type topOptions struct {
	path  messages.Name
	sort  order
	every time.Duration
	times int // 0: until interrupted
}

func topCommand(d *daemon, out *printer, inv inventory) *cobra.Command {
	o := topOptions{sort: byCPU, every: 2 * time.Second}
	c := &cobra.Command{
		Use:   "top",
		Short: "Watch what unikernels use, until interrupted",
		Long: `Watch what unikernels use, until interrupted: which share of a CPU since the last look, the
CPU time since the start, and how much of their memory. On a terminal the table is drawn anew;
otherwise one follows the other, and with --output=json a list is in each line.`,
		Example: "  albatross-client top\n  albatross-client top --name=web: --sort=memory --interval=10s",
		Args:    positional(),
		RunE: func(c *cobra.Command, _ []string) error {
			switch {
			case d.destination.csr:
				return errNoRequest
			case d.socket != "":
				return errSocketGiven
			case o.every < minInterval:
				return usageError(fmt.Sprintf("option '--interval': it must be %v at least", minInterval))
			}
			return top(c.Context(), d, out, inv, o)
		},
	}
	flags := c.Flags()
	flags.VarP(one("NAME", messages.ParseName, &o.path), "name", "n", "only this one; with ':' at the end, all below that path")
	flags.Var(one("ORDER", parseOrder, &o.sort), "sort", "cpu, memory or name")
	flags.DurationVar(&o.every, "interval", o.every, "between two looks")
	flags.Var(one("N", parsePositive, &o.times), "times", "end after so many looks (default: never)")
	return c
}

// minInterval is a limit for what 'top' costs the daemon.
const minInterval = 100 * time.Millisecond

// top looks again and again.
func top(ctx context.Context, d *daemon, out *printer, inv inventory, o topOptions) error {
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt)
	defer stop()
	context.AfterFunc(ctx, stop) // see follow
	tick := time.NewTicker(o.every)
	defer tick.Stop()
	var last look
	away := false
	for n := 1; ; {
		list, err := inv.statuses(ctx, o.path)
		switch {
		case ctx.Err() != nil:
			return nil
		case err == nil:
			away = false
			now := newLook(o.path, list, time.Now())
			if err := printLook(out, now.since(last), o.sort); err != nil || n == o.times {
				return err
			}
			last = now
			n++
		case last.at.IsZero() || !d.goesOn() || !isAway(err) || time.Since(last.at) > patientFor:
			return err
		case !away: // as for those who follow something
			away = true
			out.message(warning, hasGoneAway)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// A look is what was seen at a time.
type look struct {
	at   time.Time
	list []messages.UnikernelStatus
}

func newLook(asked messages.Name, list []messages.UnikernelStatus, at time.Time) look {
	list = slices.DeleteFunc(list, func(s messages.UnikernelStatus) bool { return s.State == messages.StateEnded })
	listInFull(asked, list, func(s *messages.UnikernelStatus) *messages.Name { return &s.Name })
	return look{at, list}
}

// A consumer is a unikernel with the share of a CPU that it has used, from 0 to 1 for each.
type consumer struct {
	messages.UnikernelStatus
	share messages.Option[float64] // absent: not known yet
}

// since returns what has been used since an earlier look. Runs are told apart by their pids.
func (l look) since(before look) []consumer {
	past := map[messages.Name]messages.UnikernelStatus{}
	for _, s := range before.list {
		past[s.Name] = s
	}
	return mapped(l.list, func(s messages.UnikernelStatus) consumer {
		c := consumer{UnikernelStatus: s}
		p, seen := past[s.Name]
		if elapsed := l.at.Sub(before.at); seen && p.PID == s.PID && p.Used.OK && s.Used.OK && elapsed > 0 {
			c.share = messages.Some(max(0, float64(s.Used.Value.CPU-p.Used.Value.CPU)/float64(elapsed)))
		}
		return c
	})
}

// printLook prints what was used.
func printLook(out *printer, list []consumer, by order) error {
	slices.SortStableFunc(list, by.compare)
	if out.format == jsonFormat {
		return out.print(documentOf(list, toConsumerObject))
	}
	text := consumerTable(list, time.Now()).fit(out.width())
	if f, ok := out.stdout.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		text = clearScreen + firstLines(text, out.height())
	}
	return out.print(text)
}

// clearScreen moves to the first line, and clears the terminal.
const clearScreen = "\x1b[H\x1b[2J"

func (o order) compare(a, b consumer) int {
	switch o {
	case byCPU:
		return cmp.Or(cmp.Compare(b.share.Value, a.share.Value), cmp.Compare(b.Used.Value.CPU, a.Used.Value.CPU))
	case byMemory:
		return cmp.Compare(b.Used.Value.Memory, a.Used.Value.Memory)
	}
	return 0 // they are sorted by name already
}

func consumerTable(list []consumer, now time.Time) table {
	t := table{rows: [][]string{{"NAME", "STATE", "CPU%", "TIME", "MEMORY", "SINCE"}}, least: []int{5, 3}}
	for _, c := range list {
		share := "-"
		if c.share.OK {
			share = fmt.Sprintf("%.1f", 100*c.share.Value)
		}
		t.rows = append(t.rows, []string{
			shortName(c.Name), stateText(c.UnikernelStatus, now), share, usedCPU(c.UnikernelStatus), memoryUse(c.UnikernelStatus), sinceText(c.UnikernelStatus, now),
		})
	}
	return t
}

// firstLines returns the lines that fit on a terminal, on whose last line the cursor stays.
func firstLines(text string, height int) string {
	lines := strings.Split(text, "\n")
	if height > 1 && len(lines) >= height {
		lines = lines[:height-1]
	}
	return strings.Join(lines, "\n")
}

// A consumerObject is a unikernel in a list of 'top'.
type consumerObject struct {
	Name        string   `json:"name"`
	State       string   `json:"state"`
	CPUPercent  *float64 `json:"cpu_percent,omitempty"`
	CPUMicros   *int64   `json:"cpu_micros,omitempty"`
	MemoryBytes *int64   `json:"memory_bytes,omitempty"`
	MemoryMB    int      `json:"memory_mb"`
}

func toConsumerObject(c consumer) consumerObject {
	u := toUnikernelObject(c.UnikernelStatus)
	o := consumerObject{Name: u.Name, State: u.State, CPUMicros: u.CPUMicros, MemoryBytes: u.MemoryBytes, MemoryMB: u.MemoryMB}
	if c.share.OK {
		percent := 100 * c.share.Value
		o.CPUPercent = &percent
	}
	return o
}
