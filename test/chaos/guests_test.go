package chaos

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"net/netip"

	"github.com/klauspost/compress/zlib"

	"albatross/messages"
	"albatross/test/guests"
)

// A guest is one of our unikernels, and how it is run.
type guest struct {
	program string
	packed  bool // its image is sent compressed
	messages.Arguments
}

func run(program string, argv ...string) guest {
	return guest{program: program, Arguments: messages.Arguments{
		Memory: 4, CPUIDs: []int{0}, CPUs: 1, AddName: true, Argv: messages.Some(append([]string{}, argv...)),
	}}
}

// networked has network devices on the bridge that was made by hand.
func (g guest) networked(names ...string) guest { return g.networkedOn(bridge, names...) }

func (g guest) networkedOn(bridge string, names ...string) guest {
	for _, name := range names {
		g.Networks = append(g.Networks, messages.Network{Name: name, Bridge: messages.Some(bridge)})
	}
	return g
}

// with has the block device "storage".
func (g guest) with(device string) guest {
	g.Blocks = []messages.BlockDevice{{Name: "storage", Device: messages.Some(device)}}
	return g
}

// again is started again when it fails.
func (g guest) again() guest {
	g.Fail.Restart = true
	return g
}

// unhealthy is never healthy: nobody listens where it is asked.
func (g guest) unhealthy() guest {
	check := messages.HealthCheck{Kind: messages.HealthTCP, Host: netip.MustParseAddr("127.0.0.1"), Port: 1}
	g.Health = messages.Some(check.Lasting(messages.MinHealthTime))
	return g
}

// healthy is healthy when it has run for a moment.
func (g guest) healthy() guest {
	g.Health = messages.Some(messages.HealthCheck{Kind: messages.HealthRuns}.Lasting(messages.MinHealthTime))
	return g
}

func (g guest) compressed() guest {
	g.packed = true
	return g
}

func (g guest) image() []byte { return guests.Image(g.program, "spt") }

func (g guest) config() messages.Config {
	c := messages.Config{Image: g.image(), Arguments: g.Arguments}
	if g.packed {
		c.Compressed, c.Image = true, deflate(c.Image)
	}
	return c
}

func deflate(data []byte) []byte {
	var b bytes.Buffer
	z := zlib.NewWriter(&b)
	_, _ = z.Write(data) // a buffer takes everything
	_ = z.Close()
	return b.Bytes()
}

// state is that of a unikernel that runs a guest.
func (g guest) state() string {
	var devices []string
	for _, b := range g.Blocks {
		devices = append(devices, b.Device.Or(b.Name))
	}
	for _, n := range g.Networks {
		devices = append(devices, n.Bridge.Or(n.Name))
	}
	sum := sha256.Sum256(g.image())
	return describe(sum[:], g.Memory, g.Argv.Value, devices, g.Publish)
}

// stateOfUnikernel is that which the daemon tells, with the ports that lead to it.
func stateOfUnikernel(i messages.Info, ports []messages.Publication) string {
	var devices []string
	for _, b := range i.Blocks {
		devices = append(devices, b.HostDevice())
	}
	for _, n := range i.Networks {
		devices = append(devices, n.HostBridge())
	}
	return describe(i.Digest, i.Memory, i.Argv.Value, devices, ports)
}

func describe(digest []byte, memory int, argv, devices []string, ports []messages.Publication) string {
	return fmt.Sprintf("%x %d MB %q %q %v", digest[:4], memory, argv, devices, ports)
}

const megabyte = 1 << 20

// filled is the state of a block device of 1 MB with contents.
func filled(contents string) string {
	whole := make([]byte, megabyte)
	copy(whole, contents)
	return stateOfDevice(1, whole)
}

func stateOfDevice(size int, contents []byte) string {
	return fmt.Sprintf("%d MB, %x", size, sha256.Sum256(contents))
}

func stateOfPolicy(p messages.Policy) string { return fmt.Sprint(p) }

// halted is the state of a unikernel that is stopped: clients are not told more of it.
const halted = "stopped"

// How a unikernel ends that is asked to, and how one whose end nobody saw.
var (
	asked  = messages.Exit{Known: true, Signal: 15}.String()
	unseen = messages.Exit{}.String()
)

func exits(code int) string { return messages.Exit{Known: true, Code: code}.String() }
