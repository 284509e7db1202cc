package bridge

import (
	"errors"
	"fmt"
	"slices"

	"github.com/google/nftables"
	"golang.org/x/sys/unix"

	"albatross/messages"
)

// An entry is an element of a set.
type entry struct {
	set     *nftables.Set
	element nftables.SetElement
	rate    int64 // bytes per second; 0: the element always matches
}

// entriesOf returns what lets a station send, except its rate.
func entriesOf(network string, s Station) []entry {
	tap := name(s.Tap)
	element := func(set string, value []byte) entry {
		return entry{set: framesSet(network, set), element: nftables.SetElement{Key: slices.Concat(tap, value)}}
	}
	list := []entry{element(setStations, padded(s.MAC[:]))}
	has6 := false
	for _, a := range s.Addresses {
		if a.Is4() {
			list = append(list, element(setAddresses, a.AsSlice()))
			continue
		}
		list, has6 = append(list, element(setAddresses6, a.AsSlice())), true
	}
	if has6 {
		list = append(list, element(setAddresses6, s.MAC.Address6(messages.LinkLocal).AsSlice()))
	}
	return list
}

// padded returns a value as it is compared: in whole words.
func padded(value []byte) []byte {
	return append(slices.Clone(value), make([]byte, (4-len(value)%4)%4)...)
}

// entryOf returns what publishes a port.
func entryOf(network string, f Forward) (entry, error) {
	v := versionOf(f.Target)
	key := slices.Concat(padded([]byte{protocolOf(f.Publication)}), padded(port(f.From)))
	set := v.ports()
	if f.Host.IsValid() && !f.Host.IsUnspecified() {
		if f.Host.Is4() != f.Target.Is4() {
			return entry{}, fmt.Errorf("%s is not an address of the same kind as %s", f.Host, f.Target)
		}
		set, key = v.hosts(), slices.Concat(f.Host.AsSlice(), key)
	}
	value := slices.Concat(f.Target.AsSlice(), padded(port(f.To)))
	return entry{set: packetsSet(network, v, set), element: nftables.SetElement{Key: key, Val: value}}, nil
}

func protocolOf(p messages.Publication) byte {
	if p.UDP {
		return unix.IPPROTO_UDP
	}
	return unix.IPPROTO_TCP
}

func port(p uint16) []byte { return []byte{byte(p >> 8), byte(p)} }

// rateOf returns what limits a station. The element matches while more arrives than its rate.
func rateOf(network string, s Station) entry {
	return entry{set: framesSet(network, setRates), element: nftables.SetElement{Key: name(s.Tap)}, rate: s.Rate}
}

// absent returns the changes after which there is no such element: it is added before, so that
// it can be removed. If one with another value is in its place, they fail.
func absent(e entry) []change {
	return []change{{unix.NFT_MSG_NEWSETELEM, e}, {unix.NFT_MSG_DELSETELEM, e}}
}

// present returns the change after which there is an element.
func present(e entry) change { return change{unix.NFT_MSG_NEWSETELEM, e} }

// setRate returns the changes that set the rate of a station, whatever it was.
func setRate(network string, s Station) []change {
	some := s
	some.Rate = 1
	list := absent(rateOf(network, some))
	if s.Rate > 0 {
		list = append(list, present(rateOf(network, s)))
	}
	return list
}

func (w *wire) allow(network string, s Station) error {
	list := setRate(network, s)
	for _, e := range entriesOf(network, s) {
		list = append(list, present(e))
	}
	return w.send(list)
}

func (w *wire) disallow(network string, s Station) error {
	s.Rate = 0
	list := setRate(network, s)
	for _, e := range entriesOf(network, s) {
		list = append(list, absent(e)...)
	}
	return w.send(list)
}

// setRates sets the rates of those stations that have one, on a network that has been written.
func (w *wire) setRates(network string, stations []Station) error {
	var list []change
	for _, s := range stations {
		if s.Rate > 0 {
			list = append(list, present(rateOf(network, s)))
		}
	}
	return w.send(list)
}

// publish tries what is most likely first: the port leads nowhere yet.
func (w *wire) publish(network string, f Forward) error {
	e, err := entryOf(network, f)
	if err != nil {
		return err
	}
	err = w.send([]change{present(e)})
	if leadsElsewhere(err) {
		err = w.send([]change{{unix.NFT_MSG_DELSETELEM, e}, present(e)})
	}
	return err
}

// unpublish removes what leads to this target, and leaves what leads to another.
func (w *wire) unpublish(network string, f Forward) error {
	e, err := entryOf(network, f)
	if err != nil {
		return err
	}
	if err := w.send(absent(e)); !leadsElsewhere(err) {
		return err
	}
	return nil
}

// leadsElsewhere reports whether a port could not be added since it leads to another target.
// Kernels differ in what they say then.
func leadsElsewhere(err error) bool { return errors.Is(err, unix.EBUSY) || errors.Is(err, unix.EEXIST) }
