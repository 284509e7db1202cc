package e2e

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/stretchr/testify/require"

	"albatross/messages"
)

// A scraped is all that Prometheus gets at once.
type scraped map[string]*dto.MetricFamily

// metricsURL waits until the daemon that runs has logged where it answers scrapes: it does so
// after it has answered its first command. The log has the addresses of former daemons too.
func (h *host) metricsURL() (url string) {
	h.t.Helper()
	ofThis := regexp.MustCompile(fmt.Sprintf(`(?s)msg="albatrossd starts"[^\n]* pid=%d .*?url=(\S+)\n`, h.daemon.Process.Pid))
	h.until("it answers scrapes", func() bool {
		found := ofThis.FindStringSubmatch(h.log())
		if found != nil {
			url = found[1]
		}
		return found != nil
	})
	return url
}

// scrape asks the daemon at the address in its log.
func (h *host) scrape() scraped {
	h.t.Helper()
	c := http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true}}
	answer, err := c.Get(h.metricsURL())
	require.NoError(h.t, err)
	defer answer.Body.Close()
	require.Equal(h.t, http.StatusOK, answer.StatusCode)
	var parser expfmt.TextParser
	families, err := parser.TextToMetricFamilies(answer.Body)
	require.NoError(h.t, err)
	return families
}

// value returns the value of a series. Labels are NAME=VALUE.
func (s scraped) value(name string, labels ...string) (value float64, there bool) {
	for _, m := range s[name].GetMetric() {
		if hasLabels(m, labels) {
			return m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount()), true
		}
	}
	return 0, false
}

func hasLabels(m *dto.Metric, labels []string) bool {
	found := 0
	for _, l := range m.GetLabel() {
		for _, want := range labels {
			if l.GetName()+"="+l.GetValue() == want {
				found++
			}
		}
	}
	return found == len(labels)
}

func (s scraped) must(t *testing.T, name string, labels ...string) float64 {
	t.Helper()
	value, there := s.value(name, labels...)
	require.True(t, there, "%s %v", name, labels)
	return value
}

// ofUnikernel returns the metrics that have a series of a unikernel.
func (s scraped) ofUnikernel(name string) (list []string) {
	for metric := range s {
		if _, there := s.value(metric, "name="+name); there {
			list = append(list, metric)
		}
	}
	return list
}

func metered(t *testing.T, address string) *host {
	h := emptyHost(t)
	h.args = []string{"--metrics", address}
	h.start()
	return h
}

// TestMetricsOfUnikernels appear with a unikernel, move with it, and vanish with
// it.
func TestMetricsOfUnikernels(t *testing.T) {
	h := metered(t, "0")
	require.Empty(t, h.scrape().ofUnikernel(":busy"))
	h.create("busy", guest("chatty", "1000000000"))
	before := h.scrape()
	const cpu, mode, busy = "albatross_unikernel_cpu_seconds_total", "mode=system", "name=:busy"
	require.Equal(t, 1.0, before.must(t, "albatross_unikernel_running", busy))
	h.until("it uses CPU", func() bool {
		return h.scrape().must(t, cpu, busy, mode) > before.must(t, cpu, busy, mode)+.1
	})
	after := h.scrape()
	after.must(t, "albatross_unikernel_resident_memory_bytes", busy) // for so few pages, the kernel may report 0
	require.Greater(t, after.must(t, "albatross_unikernel_virtual_memory_bytes", busy), float64(16<<20))
	h.requireText("destroyed unikernel", "busy", messages.UnikernelDestroy{})
	require.Empty(t, h.scrape().ofUnikernel(":busy"))
}

func TestMetricsOfNetworks(t *testing.T) {
	withBridges(t, "service")
	h := metered(t, "0")
	h.create("echo", echo("service"))
	const bytes = "albatross_unikernel_network_bytes_total"
	for _, direction := range []string{"receive", "transmit"} {
		h.scrape().must(t, bytes, "name=:echo", "device=service", "direction="+direction)
	}
}

// TestMetricsOfRestarts: how often a unikernel has restarted, and how it ended before.
func TestMetricsOfRestarts(t *testing.T) {
	h := metered(t, "0")
	c := guest("exit", "7")
	c.Fail = messages.FailBehaviour{Restart: true}
	h.create("again", c)
	h.until("it has been started again", func() bool {
		restarts, _ := h.scrape().value("albatross_unikernel_restarts_total", "name=:again")
		return restarts >= 2
	})
	require.Equal(t, 7.0, h.scrape().must(t, "albatross_unikernel_last_exit_code", "name=:again"))
	require.Positive(t, h.scrape().must(t, "albatross_unikernel_last_exit_timestamp_seconds", "name=:again"))
	require.IsType(t, messages.SuccessText{}, h.ask("again", messages.UnikernelDestroy{}))
}

// TestMetricsOfTheDaemon are counted, and keep to the conventions.
func TestMetricsOfTheDaemon(t *testing.T) {
	h := metered(t, "0")
	h.create("x", guest("hello"))
	h.requireRefused("Unikernel with same name is already running", "x", create(guest("hello")))
	s := h.scrape()
	const requests = "albatross_requests_total"
	require.Equal(t, 1.0, s.must(t, requests, "socket=vmmd", "command=unikernel_create", "result=success"))
	require.Equal(t, 1.0, s.must(t, requests, "socket=vmmd", "command=unikernel_create", "result=failure"))
	require.Equal(t, 2.0, s.must(t, "albatross_request_duration_seconds", "command=unikernel_create"))
	for _, kind := range []string{"host", "store", "unikernel", "console"} {
		require.Equal(t, 1.0, s.must(t, "albatross_actors", "kind="+kind), kind)
	}
	_, failed := s.value("albatross_actor_failures_total", "kind=host")
	require.True(t, failed)
	require.Zero(t, s.must(t, "albatross_actor_failures_total", "kind=host"))
	require.Positive(t, s.must(t, "albatross_store_commit_duration_seconds"))
	require.Zero(t, s.must(t, "albatross_adopted_tenders_total"))
	require.Equal(t, 1.0, s.must(t, "albatross_build_info"))
	s.must(t, "go_goroutines")
	s.must(t, "process_resident_memory_bytes")
	var ours []*dto.MetricFamily
	for name, family := range s {
		if strings.HasPrefix(name, "albatross_") {
			ours = append(ours, family)
		}
	}
	problems, err := promlint.NewWithMetricFamilies(ours).Lint()
	require.NoError(t, err)
	require.Empty(t, problems)

	h.kill()
	h.start()
	h.until("it is taken over", func() bool {
		adopted, _ := h.scrape().value("albatross_adopted_tenders_total")
		return adopted == 1
	})
}

// TestWhereMetricsAre: nowhere without the option, and on loopback if the option is only a port.
func TestWhereMetricsAre(t *testing.T) {
	listening := func() (addresses []string) {
		for _, file := range []string{"tcp", "tcp6"} {
			table, err := os.ReadFile("/proc/self/net/" + file)
			require.NoError(t, err)
			for line := range strings.Lines(string(table)) {
				if fields := strings.Fields(line); fields[3] == "0A" { // LISTEN
					addresses = append(addresses, strings.Split(fields[1], ":")[0])
				}
			}
		}
		return addresses
	}
	elsewhere := listening()
	newHost(t)
	require.Equal(t, elsewhere, listening())
	metered(t, "0")
	require.ElementsMatch(t, append(elsewhere, "0100007F"), listening())
	metered(t, "0.0.0.0:0")
	require.Len(t, listening(), len(elsewhere)+2)

	taken, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer taken.Close()
	_, port, err := net.SplitHostPort(taken.Addr().String())
	require.NoError(t, err)
	require.Contains(t, emptyHost(t).refused("--metrics", port), "cannot use --metrics")
}
