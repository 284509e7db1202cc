package ledger

import (
	"fmt"
	"slices"

	"albatross/messages"
)

// Stations returns the addresses that a unikernel has on bridges.
func Stations(name messages.Name, args messages.Arguments) []messages.Station {
	list := make([]messages.Station, len(args.Networks))
	for i, bridge := range Bridges(args) {
		list[i] = messages.Station{Bridge: bridge, MAC: args.Networks[i].Address(name)}
	}
	return list
}

// NewStations returns those of them that the unikernel does not have yet.
func (l *Ledger) NewStations(name messages.Name, args messages.Arguments) []messages.Station {
	return slices.DeleteFunc(Stations(name, args), func(s messages.Station) bool {
		return slices.Contains(l.stations[s], name)
	})
}

// leave takes an address from one of its owners.
func (l *Ledger) leave(s messages.Station, name messages.Name) {
	list := l.stations[s]
	if i := slices.Index(list, name); i >= 0 {
		list = slices.Delete(list, i, i+1)
	}
	if len(list) == 0 {
		delete(l.stations, s)
		return
	}
	l.stations[s] = list
}

func (l *Ledger) checkStations(name messages.Name, args messages.Arguments) error {
	list := Stations(name, args)
	for i, s := range list {
		if slices.Contains(list[:i], s) {
			return fmt.Errorf("cannot use the MAC address %s twice on bridge %s", s.MAC, s.Bridge)
		}
	}
	for _, s := range l.NewStations(name, args) {
		if len(l.stations[s]) > 0 {
			return fmt.Errorf("cannot use the MAC address %s: another unikernel has it on bridge %s (give one with --net NAME:BRIDGE@MAC)", s.MAC, s.Bridge)
		}
	}
	return nil
}
