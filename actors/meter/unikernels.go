package meter

import (
	"os"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"albatross/messages"
)

// A Survey is the state of all unikernels at about the same time.
type Survey struct {
	Status  []messages.Status
	Samples []messages.Sample // of those that run, and of processes that clients have added
}

// about describes a metric of unikernels, which has their names as a label.
func about(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(namespace+"_unikernel_"+name, help, append([]string{"name"}, labels...), nil)
}

// From the host.
var (
	running   = about("running", "Whether a unikernel runs: 0 is between two starts.")
	waiting   = about("waiting_since_timestamp_seconds", "Since when a unikernel that does not run waits to be started again, since the epoch.")
	started   = about("start_time_seconds", "When a unikernel was started last, since the epoch.")
	uptime    = about("uptime_seconds", "How long a unikernel has been running.")
	restarts  = about("restarts_total", "How often a unikernel has been started again because it had ended.")
	endTime   = about("last_exit_timestamp_seconds", "When the last run of a unikernel ended, since the epoch.")
	endCode   = about("last_exit_code", "How the last run of a unikernel ended: its exit code, if it was not killed.")
	endSignal = about("last_exit_signal", "How the last run of a unikernel ended: the signal that killed it, or 0.")
	endMemory = about("last_exit_out_of_memory", "Whether the last run of a unikernel was killed by the kernel for want of memory.")
	blockSize = about("block_device_size_bytes", "Size of a block device of a unikernel.", "device")
)

// From the collector of statistics.
var (
	cpu      = about("cpu_seconds_total", "CPU time of a unikernel.", "mode")
	resident = about("resident_memory_bytes", "Memory of a unikernel that is in the memory of the host.")
	virtual  = about("virtual_memory_bytes", "Address space of a unikernel.")
	faults   = about("page_faults_total", "Page faults of a unikernel, without (minor) and with (major) reading from storage.", "kind")
	switches = about("context_switches_total", "Context switches of a unikernel.", "kind")
	storage  = about("storage_bytes_total", "What a unikernel has had read from and written to storage.", "operation")

	netBytes   = about("network_bytes_total", "What a unikernel has received and sent.", deviceLabels...)
	netPackets = about("network_packets_total", "Packets that a unikernel has received and sent.", deviceLabels...)
	netErrors  = about("network_errors_total", "Packets of a unikernel with errors.", deviceLabels...)
	netDrops   = about("network_dropped_total", "Packets of a unikernel that were dropped.", deviceLabels...)
)

var deviceLabels = []string{"device", "direction"}

var unikernelDescs = []*prometheus.Desc{
	running, waiting, started, uptime, restarts, endTime, endCode, endSignal, endMemory, blockSize,
	cpu, resident, virtual, faults, switches, storage,
	netBytes, netPackets, netErrors, netDrops,
}

// Unikernels returns the metrics of unikernels, by a survey at each scrape. A unikernel
// has series while it exists. An error of the survey is that of the scrape.
func Unikernels(survey func() (Survey, error)) prometheus.Collector {
	return unikernels{survey, float64(os.Getpagesize())}
}

type unikernels struct {
	survey func() (Survey, error)
	page   float64
}

func (u unikernels) Describe(to chan<- *prometheus.Desc) {
	for _, d := range unikernelDescs {
		to <- d
	}
}

func (u unikernels) Collect(to chan<- prometheus.Metric) {
	s, err := u.survey()
	if err != nil {
		to <- prometheus.NewInvalidMetric(running, err)
		return
	}
	now := time.Now()
	there := make(map[messages.Name]bool, len(s.Status))
	for _, status := range s.Status {
		there[status.Name] = true
		emitStatus(series{to, status.Name.String()}, status, now)
	}
	for _, sample := range s.Samples {
		if there[sample.Name] { // clients add processes under other names
			u.emitSample(series{to, sample.Name.String()}, sample)
		}
	}
}

// series are those of one unikernel.
type series struct {
	to   chan<- prometheus.Metric
	name string
}

func (s series) gauge(d *prometheus.Desc, value float64, labels ...string) {
	s.emit(d, prometheus.GaugeValue, value, labels)
}

func (s series) counter(d *prometheus.Desc, value float64, labels ...string) {
	s.emit(d, prometheus.CounterValue, value, labels)
}

func (s series) emit(d *prometheus.Desc, kind prometheus.ValueType, value float64, labels []string) {
	m, err := prometheus.NewConstMetric(d, kind, value, append([]string{s.name}, labels...)...)
	if err != nil {
		m = prometheus.NewInvalidMetric(d, err)
	}
	s.to <- m
}

func emitStatus(s series, status messages.Status, now time.Time) {
	s.gauge(running, number(status.Running))
	if status.Wait.OK {
		s.gauge(waiting, seconds(status.Wait.Value.Since))
	}
	if !status.Started.IsZero() {
		s.gauge(started, seconds(status.Started))
	}
	if status.Running {
		s.gauge(uptime, now.Sub(status.Started).Seconds())
	}
	s.counter(restarts, float64(status.Restarts))
	if status.End.OK {
		emitEnd(s, status.End.Value)
	}
	for _, b := range status.Blocks {
		s.gauge(blockSize, float64(b.Size)*megabyte, label(b.Name))
	}
}

// emitEnd omits what nobody saw.
func emitEnd(s series, end messages.End) {
	if end.AtMillis != 0 {
		s.gauge(endTime, float64(end.AtMillis)/1000)
	}
	if !end.Exit.Known {
		return
	}
	s.gauge(endMemory, number(end.Exit.OutOfMemory))
	s.gauge(endSignal, float64(end.Exit.Signal))
	if end.Exit.Signal == 0 {
		s.gauge(endCode, float64(end.Exit.Code))
	}
}

func (u unikernels) emitSample(s series, sample messages.Sample) {
	used := sample.Stats.Rusage
	s.counter(cpu, interval(used.UTime), "user")
	s.counter(cpu, interval(used.STime), "system")
	s.counter(faults, float64(used.MinFlt), "minor")
	s.counter(faults, float64(used.MajFlt), "major")
	s.counter(switches, float64(used.NVCSw), "voluntary")
	s.counter(switches, float64(used.NIvCSw), "involuntary")
	if memory := sample.Stats.KinfoMem; memory.OK {
		s.gauge(resident, float64(memory.Value.RSS)*u.page)
		s.gauge(virtual, float64(memory.Value.VSize))
	}
	if sample.IO.OK {
		s.counter(storage, float64(sample.IO.Value.Read), "read")
		s.counter(storage, float64(sample.IO.Value.Written), "write")
	}
	for _, d := range sample.Stats.IfData {
		emitDevice(s, d)
	}
}

// emitDevice shows a network device from the unikernel's side: the host's input is the
// unikernel's output.
func emitDevice(s series, d messages.IfData) {
	device := label(d.Device)
	for _, t := range []struct {
		desc           *prometheus.Desc
		sent, received int64
	}{
		{netBytes, d.InputBytes, d.OutputBytes},
		{netPackets, d.InputPackets, d.OutputPackets},
		{netErrors, d.InputErrors, d.OutputErrors},
		{netDrops, d.InputDropped, d.OutputDropped},
	} {
		s.counter(t.desc, float64(t.sent), device, "transmit")
		s.counter(t.desc, float64(t.received), device, "receive")
	}
}

const megabyte = 1 << 20

func number(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

func seconds(t time.Time) float64 { return float64(t.UnixMilli()) / 1000 }

func interval(t messages.Timeval) float64 { return float64(t.Seconds) + float64(t.Microseconds)/1e6 }

// label returns the name of a device, which may contain any bytes, as valid UTF-8.
func label(device string) string { return strings.ToValidUTF8(device, "\uFFFD") }
