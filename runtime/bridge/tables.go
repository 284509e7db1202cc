package bridge

import (
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// errNoTable is the error for a network whose tables do not exist.
var errNoTable = errors.New("the network is not up")

// tableName returns the name of both tables of a network.
func tableName(network string) string { return "albatross-" + network }

func framesOf(network string) *nftables.Table {
	return &nftables.Table{Family: nftables.TableFamilyBridge, Name: tableName(network)}
}

func packetsOf(network string) *nftables.Table {
	return &nftables.Table{Family: nftables.TableFamilyINet, Name: tableName(network)}
}

// buffer is enough for what is sent, and the answers, when a network with a thousand stations is
// written.
const buffer = 8 << 20

func connect() (*nftables.Conn, error) {
	return nftables.New(nftables.WithSockOptions(func(c *netlink.Conn) error {
		return errors.Join(c.SetWriteBuffer(buffer), c.SetReadBuffer(buffer))
	}))
}

// counting guards the number of the next set, which all connections of package nftables share.
var counting sync.Mutex

// transact does several things in one step, or none.
func transact(do func(*nftables.Conn) error) error {
	conn, err := connect()
	if err != nil {
		return fmt.Errorf("cannot talk to nftables: %w", err)
	}
	counting.Lock()
	err = do(conn)
	counting.Unlock()
	if err != nil {
		return err
	}
	if err := conn.Flush(); err != nil {
		if errors.Is(err, unix.ENOENT) { // there is no such kind of chain or expression
			return errLacks
		}
		return understood(err)
	}
	return nil
}

// errLacks is the error for a kernel that was built without something.
var errLacks = errors.New("the kernel lacks a part of nftables (nf_tables with the families inet and bridge, nft_nat, nft_masq, nft_fib_inet and nft_limit are needed)")

// understood returns the cause in an error of a library, which may have one for each message.
func understood(err error) error {
	var code unix.Errno
	if !errors.As(err, &code) {
		return fmt.Errorf("nftables: %w", err)
	}
	switch code {
	case unix.EPERM:
		return errors.New("the right to change nftables is missing (CAP_NET_ADMIN)")
	case unix.EOPNOTSUPP, unix.EAFNOSUPPORT, unix.EPROTONOSUPPORT:
		return errLacks
	}
	return fmt.Errorf("nftables: %w", code)
}

// writeTables replaces both tables of a network in one step. The rates are not in it.
func writeTables(n Network, group uint32, stations []Station, forwards []Forward) error {
	return transact(func(c *nftables.Conn) error { return queueTables(c, n, group, stations, forwards) })
}

func queueTables(c *nftables.Conn, n Network, group uint32, stations []Station, forwards []Forward) error {
	for _, t := range []*nftables.Table{framesOf(n.Name), packetsOf(n.Name)} {
		c.AddTable(t) // otherwise it might not be there to be removed
		c.DelTable(t)
		c.AddTable(t)
	}
	if err := addSets(c, n.Name); err != nil {
		return err
	}
	writeFrames(table{framesOf(n.Name), c}, group)
	writePackets(table{packetsOf(n.Name), c}, n, group)
	return fillSets(c, n.Name, stations, forwards)
}

// removeTables removes the tables of a network that exist.
func removeTables(network string) error {
	return transact(func(c *nftables.Conn) error {
		for _, t := range []*nftables.Table{framesOf(network), packetsOf(network)} {
			c.AddTable(t)
			c.DelTable(t)
		}
		return nil
	})
}

// The sets of a network.
var (
	keyOfTap = nftables.TypeIFName
	keyOf    = nftables.MustConcatSetType
)

func framesSet(network, name string) *nftables.Set {
	key := map[string]nftables.SetDatatype{
		setRates:      keyOfTap,
		setStations:   keyOf(keyOfTap, nftables.TypeEtherAddr),
		setAddresses:  keyOf(keyOfTap, nftables.TypeIPAddr),
		setAddresses6: keyOf(keyOfTap, nftables.TypeIP6Addr),
	}[name]
	return setOf(framesOf(network), name, key)
}

// setOf returns a set. The byte order makes lists show the names of interfaces.
func setOf(t *nftables.Table, name string, key nftables.SetDatatype) *nftables.Set {
	return &nftables.Set{Table: t, Name: name, KeyType: key, KeyByteOrder: binaryutil.NativeEndian}
}

// addressOf is the type of an address.
func addressOf(v version) nftables.SetDatatype {
	if v == ip6 {
		return nftables.TypeIP6Addr
	}
	return nftables.TypeIPAddr
}

// maxAddresses bounds the stations whose connections are counted.
const maxAddresses = 65536

func connectionsSet(network string, v version) *nftables.Set {
	return &nftables.Set{Table: packetsOf(network), Name: v.connections(), KeyType: addressOf(v), Dynamic: true, Size: maxAddresses}
}

// packetsSet returns the map for publications at any address of the host, or at one.
func packetsSet(network string, v version, name string) *nftables.Set {
	addr := addressOf(v)
	key := keyOf(nftables.TypeInetProto, nftables.TypeInetService)
	if name == v.hosts() {
		key = keyOf(addr, nftables.TypeInetProto, nftables.TypeInetService)
	}
	return &nftables.Set{Table: packetsOf(network), Name: name, IsMap: true, KeyType: key,
		DataType: keyOf(addr, nftables.TypeInetService)}
}

// setsOf returns all sets of a network.
func setsOf(network string) (list []*nftables.Set) {
	for _, name := range []string{setRates, setStations, setAddresses, setAddresses6} {
		list = append(list, framesSet(network, name))
	}
	for _, v := range []version{ip4, ip6} {
		list = append(list, packetsSet(network, v, v.ports()), packetsSet(network, v, v.hosts()), connectionsSet(network, v))
	}
	return list
}

func addSets(c *nftables.Conn, network string) error {
	for _, set := range setsOf(network) {
		if err := c.AddSet(set, nil); err != nil {
			return err
		}
	}
	return nil
}

func fillSets(c *nftables.Conn, network string, stations []Station, forwards []Forward) error {
	var all []entry
	for _, s := range stations {
		all = append(all, entriesOf(network, s)...)
	}
	for _, f := range forwards {
		e, err := entryOf(network, f)
		if err != nil {
			return err
		}
		all = append(all, e)
	}
	bySet := map[string][]nftables.SetElement{}
	for _, e := range all {
		bySet[e.set.Name] = append(bySet[e.set.Name], e.element)
	}
	for _, set := range setsOf(network) {
		if err := addAll(c, set, bySet[set.Name]); err != nil {
			return err
		}
	}
	return nil
}

// addAll adds elements to a set, in as many messages as are needed.
func addAll(c *nftables.Conn, set *nftables.Set, elements []nftables.SetElement) error {
	for part := range slices.Chunk(elements, maxElements) {
		if err := c.SetAddElements(set, part); err != nil {
			return err
		}
	}
	return nil
}

// maxElements is how many elements fit in a message for the kernel, which has at most 64 KB.
const maxElements = 256
