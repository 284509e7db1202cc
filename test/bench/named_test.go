package bench

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"albatross/messages"
	"albatross/sockets/client"
	"albatross/test/guests"
	"albatross/test/netns"
)

// BenchmarkNamedNetwork tells what a create and a destroy cost on a named network of either backend,
// beside the same on a bare bridge, and where there are 200 devices, beside where there is one.
func BenchmarkNamedNetwork(b *testing.B) {
	netns.Bridge(b, "bare1")
	netns.Bridge(b, "bare200")
	h := newHostWith(b, "albatross-network")
	kinds := map[string]messages.NetworkBackend{"kernel": messages.KernelNetwork, "user": messages.UserNetwork}
	var networks []string
	for _, devices := range []int{1, 200} {
		for kind, backend := range kinds {
			network := fmt.Sprint(kind, devices)
			h.control(network, messages.NetworkCreate{Asked: messages.NetworkAsk{Backend: backend}})
			networks = append(networks, network)
		}
		for _, kind := range []string{"bare", "kernel", "user"} {
			h.crowdOn(fmt.Sprint(kind, devices), devices)
		}
	}
	b.Cleanup(func() {
		h.destroyAll()
		for _, network := range networks {
			h.control(network, messages.NetworkRemove{})
		}
	})
	creates, destroys := map[string][]time.Duration{}, map[string][]time.Duration{}
	for range rounds {
		for _, network := range append(networks, "bare1", "bare200") {
			create, destroy := h.once(network)
			creates[network], destroys[network] = append(creates[network], create), append(destroys[network], destroy)
		}
	}
	for what, times := range map[string]map[string][]time.Duration{"create": creates, "destroy": destroys} {
		for _, kind := range []string{"bare", "kernel", "user"} {
			few, many := times[kind+"1"], times[kind+"200"]
			b.Logf("%s, %s: %v, with 200 devices %v", what, kind, median(few), median(many))
			if kind == "bare" {
				continue
			}
			on := what + " on a named network (" + kind + ")"
			atMost(on+": on a bare bridge", "×", 1.2, ratios(few, times["bare1"]))
			atMost(on+" with 200 devices: with one", "×", 1.1, ratios(many, few))
		}
	}
	b.ReportMetric(0, "ns/op")
}

// control gives a command on our own socket.
func (h *host) control(name string, command messages.Command) {
	c, err := client.Dial(context.Background(), h.path("util/control.sock"))
	require.NoError(h.b, err)
	defer c.Close()
	require.NoError(h.b, c.Do(context.Background(), label(name), command))
}

// crowdOn plugs so many devices into a network.
func (h *host) crowdOn(network string, devices int) {
	for n := range devices {
		h.ask(label(fmt.Sprint(network, "-", n)), messages.UnikernelCreate{Form: 5, Config: onNetwork(network)})
	}
}

// onNetwork runs a unikernel that waits for frames.
func onNetwork(network string) messages.Config {
	c := config(guests.Image("net", "spt"))
	c.Networks = []messages.Network{{Name: "service", Bridge: messages.Some(network)}}
	return c
}

// once creates and destroys one more.
func (h *host) once(network string) (create, destroy time.Duration) {
	name := label("measured-" + network)
	create = took(func() { h.ask(name, messages.UnikernelCreate{Form: 5, Config: onNetwork(network)}) })
	destroy = took(func() { h.ask(name, messages.UnikernelDestroy{}) })
	return create, destroy
}
