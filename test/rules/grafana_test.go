package rules

import (
	"encoding/json"
	"log/slog"
	"os"
	"regexp"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/stretchr/testify/require"

	"albatross/actors/meter"
	"albatross/actors/supervise"
)

// A dashboard has those fields of a dashboard of Grafana that these tests need.
type dashboard struct {
	Templating struct {
		List []struct{ Query string }
	}
	Panels []struct {
		Title   string
		Type    string
		Targets []struct{ Expr string }
	}
}

func readDashboard(t *testing.T) (d dashboard) {
	text, err := os.ReadFile("../../packaging/grafana/albatross.json")
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(text, &d))
	require.NotEmpty(t, d.Panels)
	return d
}

// exported returns the metrics of the daemon, under the names that queries use.
func exported(t *testing.T) map[string]bool {
	system := supervise.New(supervise.WallClock(), slog.New(slog.DiscardHandler))
	names := map[string]bool{}
	for _, c := range []prometheus.Collector{
		meter.New("test"), meter.Actors(system), meter.NewUnikernels(nil),
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	} {
		for _, name := range described(c) {
			names[name] = true
			if regexp.MustCompile(`_duration_seconds$`).MatchString(name) { // it is a histogram
				names[name+"_bucket"], names[name+"_sum"], names[name+"_count"] = true, true, true
				delete(names, name)
			}
		}
	}
	return names
}

func described(c prometheus.Collector) (names []string) {
	descs := make(chan *prometheus.Desc)
	go func() {
		defer close(descs)
		c.Describe(descs)
	}()
	for d := range descs {
		names = append(names, regexp.MustCompile(`fqName: "([^"]+)"`).FindStringSubmatch(d.String())[1])
	}
	return names
}

var metric = regexp.MustCompile(`\b(albatross|go|process)_[a-z_]+`)

// TestTheDashboardAsksForWhatThereIs, and for all metrics of ours.
func TestTheDashboardAsksForWhatThereIs(t *testing.T) {
	there, asked := exported(t), map[string]bool{}
	ask := func(where, query string) {
		found := metric.FindAllString(query, -1)
		require.NotEmpty(t, found, where)
		for _, name := range found {
			require.True(t, there[name], "%s asks for %s, which the daemon does not export", where, name)
			asked[name] = true
		}
	}
	d := readDashboard(t)
	for _, v := range d.Templating.List {
		if v.Query != "prometheus" { // the kind of a data source
			ask("a variable", v.Query)
		}
	}
	for _, p := range d.Panels {
		require.True(t, p.Type == "row" || len(p.Targets) > 0, p.Title)
		for _, target := range p.Targets {
			ask(p.Title, target.Expr)
		}
	}
	for name := range there {
		histogram := regexp.MustCompile(`_(bucket|sum|count)$`).MatchString(name)
		if ours := regexp.MustCompile(`^albatross_`).MatchString(name); ours && !histogram {
			require.True(t, asked[name], "no panel shows %s", name)
		}
	}
}
