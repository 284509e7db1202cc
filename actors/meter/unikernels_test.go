package meter_test

import (
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/expfmt"
	"github.com/stretchr/testify/require"

	"albatross/actors/meter"
	"albatross/messages"
)

func some(s meter.Survey) *meter.Unikernels {
	return meter.NewUnikernels(func() (meter.Survey, error) { return s, nil })
}

func name(s string) messages.Name { return messages.Name{Path: "a", Label: messages.Label(s)} }

// sampled returns a sample in which no two numbers are the same.
func sampled(name messages.Name) messages.Sample {
	return messages.Sample{
		Name: name,
		Stats: messages.DataStats{
			Rusage: messages.Rusage{
				UTime: messages.Timeval{Seconds: 1, Microseconds: 500_000}, STime: messages.Timeval{Microseconds: 250_000},
				MinFlt: 2, MajFlt: 3, NVCSw: 4, NIvCSw: 5,
			},
			KinfoMem: messages.Some(messages.KinfoMem{RSS: 6, VSize: 7}),
			IfData: []messages.IfData{{
				Device: "service", InputBytes: 8, OutputBytes: 9, InputPackets: 10, OutputPackets: 11,
				InputErrors: 12, OutputErrors: 13, InputDropped: 14, OutputDropped: 15,
			}},
		},
		IO: messages.Some(messages.BlockIO{Read: 16, Written: 17}),
	}
}

func TestWhatRunsIsTold(t *testing.T) {
	text := gather(t, some(meter.Survey{
		Status: []messages.Status{{
			Name: name("x"), Running: true, Started: time.UnixMilli(1_700_000_000_250), Restarts: 18,
			End:    messages.Some(messages.End{Exit: messages.Exit{Known: true, Code: 19}, AtMillis: 20_500}),
			Blocks: []messages.BlockInfo{{Name: "data", Size: 2}},
		}},
		Samples: []messages.Sample{sampled(name("x"))},
	}))
	for _, line := range []string{
		`running{name="a:x"} 1`,
		`start_time_seconds{name="a:x"} 1.70000000025e+09`,
		`restarts_total{name="a:x"} 18`,
		`last_exit_timestamp_seconds{name="a:x"} 20.5`,
		`last_exit_code{name="a:x"} 19`,
		`last_exit_signal{name="a:x"} 0`,
		`block_device_size_bytes{device="data",name="a:x"} 2.097152e+06`,
		`cpu_seconds_total{mode="user",name="a:x"} 1.5`,
		`cpu_seconds_total{mode="system",name="a:x"} 0.25`,
		fmt.Sprintf(`resident_memory_bytes{name="a:x"} %d`, 6*os.Getpagesize()),
		`virtual_memory_bytes{name="a:x"} 7`,
		`page_faults_total{kind="minor",name="a:x"} 2`,
		`page_faults_total{kind="major",name="a:x"} 3`,
		`context_switches_total{kind="voluntary",name="a:x"} 4`,
		`context_switches_total{kind="involuntary",name="a:x"} 5`,
		`network_bytes_total{device="service",direction="transmit",name="a:x"} 8`,
		`network_bytes_total{device="service",direction="receive",name="a:x"} 9`,
		`network_packets_total{device="service",direction="transmit",name="a:x"} 10`,
		`network_packets_total{device="service",direction="receive",name="a:x"} 11`,
		`network_errors_total{device="service",direction="transmit",name="a:x"} 12`,
		`network_errors_total{device="service",direction="receive",name="a:x"} 13`,
		`network_dropped_total{device="service",direction="transmit",name="a:x"} 14`,
		`network_dropped_total{device="service",direction="receive",name="a:x"} 15`,
		`storage_bytes_total{name="a:x",operation="read"} 16`,
		`storage_bytes_total{name="a:x",operation="write"} 17`,
	} {
		require.Contains(t, text, "\nalbatross_unikernel_"+line+"\n")
	}
	require.Regexp(t, `\nalbatross_unikernel_uptime_seconds{name="a:x"} [0-9.e+]+\n`, text)
}

// TestWhatIsNotKnownIsLeftOut: no unknown value is reported as zero.
func TestWhatIsNotKnownIsLeftOut(t *testing.T) {
	text := gather(t, some(meter.Survey{
		Status: []messages.Status{
			{Name: name("rests"), Started: time.UnixMilli(1000), End: messages.Some(messages.End{Exit: messages.Exit{Known: true, Signal: 9}})},
			{Name: name("unseen"), Running: true, Started: time.UnixMilli(1000), End: messages.Some(messages.End{AtMillis: 1})},
			{Name: name("first"), Running: true, Started: time.UnixMilli(1000)},
		},
		Samples: []messages.Sample{{Name: name("first")}, sampled(name("stranger"))},
	}))
	require.Contains(t, text, `running{name="a:rests"} 0`)
	require.Contains(t, text, `last_exit_signal{name="a:rests"} 9`)
	require.Contains(t, text, `last_exit_timestamp_seconds{name="a:unseen"} 0.001`)
	for _, line := range []string{
		`uptime_seconds{name="a:rests"}`, `last_exit_code{name="a:rests"}`,
		`last_exit_signal{name="a:unseen"}`, `last_exit_code{name="a:unseen"}`,
		`last_exit_timestamp_seconds{name="a:first"}`, `last_exit_timestamp_seconds{name="a:rests"}`,
		"stranger", "storage_bytes", "network_", "memory_bytes", "block_device",
	} {
		require.NotContains(t, text, line)
	}
}

// TestNamesOfDevicesAreTaken from the manifest unchanged.
func TestNamesOfDevicesAreTaken(t *testing.T) {
	s := sampled(name("x"))
	s.Stats.IfData[0].Device = "\xff\"\n"
	text := gather(t, some(meter.Survey{Status: []messages.Status{{Name: name("x")}}, Samples: []messages.Sample{s}}))
	require.Contains(t, text, "network_bytes_total{device=\"\uFFFD\\\"\\n\",direction=\"receive\",name=\"a:x\"} 9\n")
}

func TestASurveyThatFailsIsAnError(t *testing.T) {
	registry := prometheus.NewPedanticRegistry()
	u := meter.NewUnikernels(func() (meter.Survey, error) { return meter.Survey{}, errors.New("nobody answers") })
	registry.MustRegister(u)
	for _, g := range []prometheus.Gatherer{registry, u} {
		_, err := g.Gather()
		require.ErrorContains(t, err, "nobody answers")
	}
}

// lines returns those whose values do not depend on the time.
func lines(text string) []string {
	return strings.Split(regexp.MustCompile(`uptime_seconds{.*`).ReplaceAllString(text, ""), "\n")
}

// TestGathered: what Prometheus gets is what a registry finds right.
func TestGathered(t *testing.T) {
	u := some(meter.Survey{
		Status:  []messages.Status{{Name: name("x"), Running: true, Started: time.UnixMilli(1)}, {Name: name("y"), Started: time.UnixMilli(2)}},
		Samples: []messages.Sample{sampled(name("x"))},
	})
	list, err := u.Gather()
	require.NoError(t, err)
	require.ElementsMatch(t, lines(gather(t, u)), lines(textOf(t, list)))
}

// BenchmarkScrape measures one scrape of a host with 1,000 unikernels, without the survey, and
// compares it with writing that much text.
func BenchmarkScrape(b *testing.B) {
	var s meter.Survey
	for i := range 1000 {
		n := name(fmt.Sprint("unikernel", i))
		s.Status = append(s.Status, messages.Status{Name: n, Running: true, Started: time.Now(), Blocks: []messages.BlockInfo{{Name: "data", Size: 2}}})
		s.Samples = append(s.Samples, sampled(n))
	}
	text := gather(b, some(s))
	var plain time.Duration
	for b.Loop() {
		families, err := some(s).Gather()
		require.NoError(b, err)
		for _, f := range families {
			_, err := expfmt.MetricFamilyToText(io.Discard, f)
			require.NoError(b, err)
		}
		begun := time.Now()
		for line := range strings.Lines(text) {
			_, _ = fmt.Fprintf(io.Discard, "%s", line)
		}
		plain += time.Since(begun)
	}
	b.ReportMetric(float64(b.Elapsed())/float64(plain), "x-plain-text")
	b.ReportMetric(float64(strings.Count(text, "\n"))/1000, "lines/unikernel")
}
