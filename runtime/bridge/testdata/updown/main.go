// Updown makes a network, or removes it, and may be killed at any failpoint.
package main

import (
	"errors"
	"fmt"
	"net/netip"
	"os"

	"albatross/messages"
	"albatross/runtime/bridge"
)

func main() {
	backend := bridge.New(os.Args[2])
	var err error
	switch os.Args[1] {
	case "up":
		err = up(backend)
	case "down":
		err = backend.Down("service")
	}
	if err := errors.Join(err, backend.Close()); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}

func up(b *bridge.Backend) error {
	n := bridge.Network{Name: "service", MTU: 1400, NAT: true,
		Gateway: netip.MustParsePrefix("10.90.0.1/24"), Gateway6: netip.MustParsePrefix("fd00:90::1/64")}
	station := bridge.Station{Tap: "tap1", MAC: messages.MAC{2, 0, 0, 0, 0, 1}, Rate: 1e6,
		Addresses: []netip.Addr{netip.MustParseAddr("10.90.0.2")}}
	port := bridge.Forward{Publication: messages.Publication{From: 8080, To: 80}, Target: station.Addresses[0]}
	return b.Up(n, []bridge.Station{station}, []bridge.Forward{port})
}
