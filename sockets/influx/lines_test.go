package influx

import (
	"encoding/hex"
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/influxdata/line-protocol/v2/lineprotocol"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"albatross/messages"
	"albatross/sockets/wire"
)

// What native albatross-stats has sent about a process and an interface "br".
const nativeFrame = "" +
	"308201b73011020105040800000000000000000c023a6da38201a0a182019c308201983081ae300f040800000000000000000203035b60300f04080000000000000000020301adb0040800" +
	"00000000001890040800000000000000000408000000000000000004080000000000000000040800000000000017c004080000000000000002040800000000000000000408000000000000" +
	"0000040800000000000000000408000000000000000004080000000000000000040800000000000000000408000000000000040f0408000000000000009730819230818f0c026272020301" +
	"004902010002010002010002030100000408000000000000000004080000000000001100040800000000000000000408000000000000110004080000000000000000040800000000000000" +
	"00040800000000014e0f30040800000000014e0f3004080000000000000000040800000000000000000408000000000000000004080000000000000000a15004080000000001d090000408" +
	"00000000000018900408000000000000000104080000000000000fdb04080000000000000fdb04080000000000050910020100300f0408000000006b02ff070203080af0"

// TestNativeStatistics: native albatross-influx writes these lines for them.
func TestNativeStatistics(t *testing.T) {
	frame, err := hex.DecodeString(nativeFrame)
	require.NoError(t, err)
	m, err := wire.Decode(frame)
	require.NoError(t, err)
	now := time.Unix(1795358471+60, 527088000+500000000)
	require.Equal(t, ""+
		"resource_usage,vm=m utime=0.220000,stime=0.110000,maxrss=6288i,ixrss=0i,idrss=0i,isrss=0i,minflt=6080i,maxflt=2i,"+
		"nswap=0i,inblock=0i,outblock=0i,msgsnd=0i,msgrcv=0i,nsignals=0i,nvcsw=1039i,nivcsw=151i\n"+
		"kinfo_mem,vm=m vsize=30445568i,rss=6288i,tsize=1i,dsize=4059i,ssize=4059i,cow_faults=0i,runtime=330000i,uptime=60.500000\n"+
		"interface,vm=m,bridge=br send_queue_length=0i,max_send_queue_length=0i,send_queue_drops=0i,mtu=65536i,baudrate=0i,"+
		"vm_to_host_packets=4352i,vm_to_host_errors=0i,vm_to_host_bytes=21892912i,vm_to_host_mcast=0i,vm_to_host_dropped=0i,"+
		"collisions=0i,host_to_vm_packets=4352i,host_to_vm_errors=0i,host_to_vm_bytes=21892912i,host_to_vm_mcast=0i,host_to_vm_dropped=0i\n",
		string(AppendLines(nil, string(m.Header.Name.Label), m.Payload.(messages.DataStats), now)))
}

// A point is the value that InfluxDB reads from a line.
type point struct {
	measurement string
	tags        map[string]string
	fields      map[string]any
}

// read reads lines as InfluxDB does.
func read(text []byte) (points []point, err error) {
	d := lineprotocol.NewDecoderWithBytes(text)
	for d.Next() {
		p, err := readPoint(d)
		if err != nil {
			return nil, fmt.Errorf("%w in %q", err, text)
		}
		points = append(points, p)
	}
	return points, nil
}

func readPoint(d *lineprotocol.Decoder) (point, error) {
	measurement, err := d.Measurement()
	if err != nil {
		return point{}, err
	}
	p := point{string(measurement), map[string]string{}, map[string]any{}}
	for {
		key, value, err := d.NextTag()
		if err != nil {
			return point{}, err
		}
		if key == nil {
			break
		}
		p.tags[string(key)] = string(value)
	}
	for {
		key, value, err := d.NextField()
		if err != nil {
			return point{}, err
		}
		if key == nil {
			break
		}
		p.fields[string(key)] = value.Interface()
	}
	_, err = d.TimeBytes()
	return p, err
}

// TestWhateverIsTold: no name of a device or of a counter that a daemon may send makes other lines,
// or other tags, than there are.
func TestWhateverIsTold(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		vm := rapid.StringMatching(`[a-z0-9:.-]{1,20}`).Draw(t, "vm")
		device := rapid.String().Draw(t, "device")
		counter := rapid.StringN(1, 10, -1).Draw(t, "counter")
		value := rapid.Int64().Draw(t, "value")
		points, err := read(AppendLines(nil, vm, messages.DataStats{
			Rusage:   messages.Rusage{MajFlt: value, UTime: messages.Timeval{Seconds: 1 << 40, Microseconds: 7}},
			KinfoMem: messages.Some(messages.KinfoMem{Runtime: value}),
			VMM:      messages.Some([]messages.Counter{{Name: counter, Value: value}}),
			IfData:   []messages.IfData{{Device: device, MTU: math.MaxUint32, OutputBytes: value}},
		}, time.Unix(1, 0)))
		if err != nil {
			t.Fatal(err)
		}
		require.Len(t, points, 4)
		for i, measurement := range []string{"resource_usage", "kinfo_mem", "vmm", "interface"} {
			require.Equal(t, measurement, points[i].measurement)
			require.Equal(t, vm, points[i].tags["vm"])
		}
		require.Equal(t, value, points[0].fields["maxflt"])
		require.Equal(t, float64(1<<40)+7e-6, points[0].fields["utime"])
		require.Equal(t, value, points[1].fields["runtime"])
		require.Equal(t, 1.0, points[1].fields["uptime"])
		require.Len(t, points[2].fields, 1)
		require.Len(t, points[3].fields, 16)
		require.Equal(t, value, points[3].fields["host_to_vm_bytes"])
		require.Equal(t, int64(math.MaxUint32), points[3].fields["mtu"])
	})
}

func TestEscaped(t *testing.T) {
	for device, want := range map[string]string{
		"service":      "service",
		"a=b,c d":      "a=b,c d",
		"line\nbreak":  "line_break",
		`ends in \`:    "ends in _",
		"\xff\x00":     "__",
		"zwölf,\u2028": "zwölf,\u2028",
	} {
		points, err := read(appendInterface(nil, "x:y", messages.IfData{Device: device}))
		require.NoError(t, err)
		require.Equal(t, map[string]string{"vm": "x:y", "bridge": want}, points[0].tags)
	}
	points, err := read(appendInterface(nil, "x", messages.IfData{}))
	require.NoError(t, err)
	require.Equal(t, map[string]string{"vm": "x"}, points[0].tags, "a tag without a value is none")
	require.Empty(t, AppendLines(nil, "x", messages.DataStats{VMM: messages.Some([]messages.Counter{})}, time.Now())[len(appendRusage(nil, "x", messages.Rusage{})):],
		"a line without fields is none")
}
