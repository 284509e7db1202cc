package meter

import (
	"os"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"albatross/messages"
)

// A Survey is the state of all unikernels at about the same time.
type Survey struct {
	Status  []messages.Status
	Samples []messages.Sample // of those that run, and of processes that clients have added
}

// A family is a metric of unikernels, which has their names as a label.
type family struct {
	desc       *prometheus.Desc
	name, help string
	kind       dto.MetricType
	number     int // in families
}

// families are all of them.
var families []*family

func gauge(name, help string, labels ...string) *family {
	return about(dto.MetricType_GAUGE, name, help, labels)
}

func counter(name, help string, labels ...string) *family {
	return about(dto.MetricType_COUNTER, name, help, labels)
}

func about(kind dto.MetricType, name, help string, labels []string) *family {
	name = namespace + "_unikernel_" + name
	f := &family{prometheus.NewDesc(name, help, append([]string{"name"}, labels...), nil), name, help, kind, len(families)}
	families = append(families, f)
	return f
}

// From the host.
var (
	running   = gauge("running", "Whether a unikernel runs: 0 is between two starts.")
	waiting   = gauge("waiting_since_timestamp_seconds", "Since when a unikernel that does not run waits to be started again, since the epoch.")
	started   = gauge("start_time_seconds", "When a unikernel was started last, since the epoch.")
	uptime    = gauge("uptime_seconds", "How long a unikernel has been running.")
	restarts  = counter("restarts_total", "How often a unikernel has been started again because it had ended.")
	endTime   = gauge("last_exit_timestamp_seconds", "When the last run of a unikernel ended, since the epoch.")
	endCode   = gauge("last_exit_code", "How the last run of a unikernel ended: its exit code, if it was not killed.")
	endSignal = gauge("last_exit_signal", "How the last run of a unikernel ended: the signal that killed it, or 0.")
	endMemory = gauge("last_exit_out_of_memory", "Whether the last run of a unikernel was killed by the kernel for want of memory.")
	blockSize = gauge("block_device_size_bytes", "Size of a block device of a unikernel.", "device")
)

// From the collector of statistics.
var (
	cpu      = counter("cpu_seconds_total", "CPU time of a unikernel.", "mode")
	resident = gauge("resident_memory_bytes", "Memory of a unikernel that is in the memory of the host.")
	virtual  = gauge("virtual_memory_bytes", "Address space of a unikernel.")
	faults   = counter("page_faults_total", "Page faults of a unikernel, without (minor) and with (major) reading from storage.", "kind")
	switches = counter("context_switches_total", "Context switches of a unikernel.", "kind")
	storage  = counter("storage_bytes_total", "What a unikernel has had read from and written to storage.", "operation")

	netBytes   = counter("network_bytes_total", "What a unikernel has received and sent.", deviceLabels...)
	netPackets = counter("network_packets_total", "Packets that a unikernel has received and sent.", deviceLabels...)
	netErrors  = counter("network_errors_total", "Packets of a unikernel with errors.", deviceLabels...)
	netDrops   = counter("network_dropped_total", "Packets of a unikernel that were dropped.", deviceLabels...)
)

var deviceLabels = []string{"device", "direction"}

// Unikernels are the metrics of unikernels, by a survey at each scrape. A unikernel has series
// while it exists. An error of the survey is that of the scrape.
//
// With thousands of unikernels nearly all series are theirs. So it gathers them itself: a registry
// would compare each with all others, which takes three times as long as all else.
type Unikernels struct {
	survey func() (Survey, error)
	page   float64
}

// NewUnikernels returns the metrics of what surveys find.
func NewUnikernels(survey func() (Survey, error)) *Unikernels {
	return &Unikernels{survey, float64(os.Getpagesize())}
}

// Describe implements prometheus.Collector, for who checks the metrics.
func (u *Unikernels) Describe(to chan<- *prometheus.Desc) {
	for _, f := range families {
		to <- f.desc
	}
}

// Collect implements prometheus.Collector.
func (u *Unikernels) Collect(to chan<- prometheus.Metric) {
	found, err := u.find()
	if err != nil {
		to <- prometheus.NewInvalidMetric(running.desc, err)
		return
	}
	for n, list := range found {
		for _, m := range list {
			to <- point{families[n].desc, m}
		}
	}
}

// A point is a prometheus.Metric.
type point struct {
	desc   *prometheus.Desc
	metric *dto.Metric
}

func (p point) Desc() *prometheus.Desc { return p.desc }

func (p point) Write(m *dto.Metric) error {
	m.Label, m.Gauge, m.Counter = p.metric.Label, p.metric.Gauge, p.metric.Counter
	return nil
}

// Gather implements prometheus.Gatherer.
func (u *Unikernels) Gather() (list []*dto.MetricFamily, err error) {
	found, err := u.find()
	if err != nil {
		return nil, err
	}
	for n, f := range families {
		if len(found[n]) > 0 {
			list = append(list, &dto.MetricFamily{Name: &f.name, Help: &f.help, Type: &f.kind, Metric: found[n]})
		}
	}
	return list, nil
}

// find makes a survey, and returns the series of each family.
func (u *Unikernels) find() ([][]*dto.Metric, error) {
	found := make([][]*dto.Metric, len(families))
	s, err := u.survey()
	if err != nil {
		return nil, err
	}
	now := time.Now()
	there := make(map[messages.Name]bool, len(s.Status))
	for _, status := range s.Status {
		there[status.Name] = true
		emitStatus(seriesOf(status.Name, found), status, now)
	}
	for _, sample := range s.Samples {
		if there[sample.Name] { // clients add processes under other names
			u.emitSample(seriesOf(sample.Name, found), sample)
		}
	}
	return found, nil
}

// series are those of one unikernel.
type series struct {
	name *dto.LabelPair
	to   [][]*dto.Metric // by the numbers of families
}

func seriesOf(name messages.Name, to [][]*dto.Metric) series {
	return series{pair("name", name.String()), to}
}

// pair returns a label with its value. Many series share it.
func pair(label, value string) *dto.LabelPair { return &dto.LabelPair{Name: &label, Value: &value} }

// emit adds a series.
func (s series) emit(f *family, value float64, labels ...*dto.LabelPair) {
	m := &dto.Metric{Label: append(labels, s.name)}
	slices.SortFunc(m.Label, func(a, b *dto.LabelPair) int { return strings.Compare(*a.Name, *b.Name) })
	if f.kind == dto.MetricType_COUNTER {
		m.Counter = &dto.Counter{Value: &value}
	} else {
		m.Gauge = &dto.Gauge{Value: &value}
	}
	s.to[f.number] = append(s.to[f.number], m)
}

// The values of labels that are ours.
var (
	user, system           = pair("mode", "user"), pair("mode", "system")
	minor, major           = pair("kind", "minor"), pair("kind", "major")
	voluntary, involuntary = pair("kind", "voluntary"), pair("kind", "involuntary")
	read, write            = pair("operation", "read"), pair("operation", "write")
	transmit, receive      = pair("direction", "transmit"), pair("direction", "receive")
)

func emitStatus(s series, status messages.Status, now time.Time) {
	s.emit(running, number(status.Running))
	if status.Wait.OK {
		s.emit(waiting, seconds(status.Wait.Value.Since))
	}
	if !status.Started.IsZero() {
		s.emit(started, seconds(status.Started))
	}
	if status.Running {
		s.emit(uptime, now.Sub(status.Started).Seconds())
	}
	s.emit(restarts, float64(status.Restarts))
	if status.End.OK {
		emitEnd(s, status.End.Value)
	}
	for _, b := range status.Blocks {
		s.emit(blockSize, float64(b.Size)*megabyte, pair("device", label(b.Name)))
	}
}

// emitEnd omits what nobody saw.
func emitEnd(s series, end messages.End) {
	if end.AtMillis != 0 {
		s.emit(endTime, float64(end.AtMillis)/1000)
	}
	if !end.Exit.Known {
		return
	}
	s.emit(endMemory, number(end.Exit.OutOfMemory))
	s.emit(endSignal, float64(end.Exit.Signal))
	if end.Exit.Signal == 0 {
		s.emit(endCode, float64(end.Exit.Code))
	}
}

func (u *Unikernels) emitSample(s series, sample messages.Sample) {
	used := sample.Stats.Rusage
	s.emit(cpu, interval(used.UTime), user)
	s.emit(cpu, interval(used.STime), system)
	s.emit(faults, float64(used.MinFlt), minor)
	s.emit(faults, float64(used.MajFlt), major)
	s.emit(switches, float64(used.NVCSw), voluntary)
	s.emit(switches, float64(used.NIvCSw), involuntary)
	if memory := sample.Stats.KinfoMem; memory.OK {
		s.emit(resident, float64(memory.Value.RSS)*u.page)
		s.emit(virtual, float64(memory.Value.VSize))
	}
	if sample.IO.OK {
		s.emit(storage, float64(sample.IO.Value.Read), read)
		s.emit(storage, float64(sample.IO.Value.Written), write)
	}
	for _, d := range sample.Stats.IfData {
		emitDevice(s, d)
	}
}

// emitDevice shows a network device from the unikernel's side: the host's input is the
// unikernel's output.
func emitDevice(s series, d messages.IfData) {
	device := pair("device", label(d.Device))
	for _, t := range []struct {
		family         *family
		sent, received int64
	}{
		{netBytes, d.InputBytes, d.OutputBytes},
		{netPackets, d.InputPackets, d.OutputPackets},
		{netErrors, d.InputErrors, d.OutputErrors},
		{netDrops, d.InputDropped, d.OutputDropped},
	} {
		s.emit(t.family, float64(t.sent), device, transmit)
		s.emit(t.family, float64(t.received), device, receive)
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
