package bridge

import (
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// A wire is a connection to the kernel for changes of elements. It stays open: to close one takes
// as long as the kernel needs to free what was removed by it, ten milliseconds. The library has
// no words for elements with a rate, so these messages are written here.
type wire struct {
	mu   sync.Mutex
	conn *netlink.Conn // nil: not open
}

// A change adds or removes an element.
type change struct {
	do uint16
	entry
}

// send makes changes in one step.
func (w *wire) send(changes []change) error {
	if len(changes) == 0 {
		return nil
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.open(); err != nil {
		return understood(err)
	}
	list := []netlink.Message{mark(unix.NFNL_MSG_BATCH_BEGIN)}
	for _, c := range changes {
		list = append(list, c.message())
	}
	_, err := w.conn.SendMessages(append(list, mark(unix.NFNL_MSG_BATCH_END)))
	for i := 0; i < len(changes) && err == nil; i++ { // each is answered; the first error is the cause
		_, err = w.conn.Receive()
	}
	if err != nil {
		_ = w.shut() // with the answers that have not been read
		if errors.Is(err, unix.ENOENT) {
			return errNoTable
		}
		return understood(err)
	}
	return nil
}

func (w *wire) open() error {
	if w.conn != nil {
		return nil
	}
	conn, err := netlink.Dial(unix.NETLINK_NETFILTER, nil)
	if err != nil {
		return err
	}
	if err := errors.Join(conn.SetWriteBuffer(buffer), conn.SetReadBuffer(buffer)); err != nil {
		return errors.Join(err, conn.Close())
	}
	w.conn = conn
	return nil
}

func (w *wire) shut() error {
	if w.conn == nil {
		return nil
	}
	err := w.conn.Close()
	w.conn = nil
	return err
}

func (w *wire) close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.shut()
}

// burst is how much a station may send at once, in bytes, besides what it may send in a second:
// the kernel adds that. It is enough for the longest frame.
const burst = 128 << 10

func (c change) message() netlink.Message {
	element := nested(unix.NFTA_SET_ELEM_KEY, attribute(unix.NFTA_DATA_VALUE, c.element.Key))
	if c.do == unix.NFT_MSG_NEWSETELEM && len(c.element.Val) > 0 {
		element = append(element, nested(unix.NFTA_SET_ELEM_DATA, attribute(unix.NFTA_DATA_VALUE, c.element.Val))...)
	}
	if c.do == unix.NFT_MSG_NEWSETELEM && c.rate > 0 {
		element = append(element, nested(unix.NFTA_SET_ELEM_EXPR, limit(c.rate))...)
	}
	header := []byte{byte(c.set.Table.Family), unix.NFNETLINK_V0, 0, 0}
	return netlink.Message{
		Header: netlink.Header{
			Type:  netlink.HeaderType(unix.NFNL_SUBSYS_NFTABLES<<8 | c.do),
			Flags: netlink.Request | netlink.Acknowledge | netlink.Create,
		},
		Data: slices.Concat(header,
			attribute(unix.NFTA_SET_ELEM_LIST_TABLE, text(c.set.Table.Name)),
			attribute(unix.NFTA_SET_ELEM_LIST_SET, text(c.set.Name)),
			nested(unix.NFTA_SET_ELEM_LIST_ELEMENTS, nested(unix.NFTA_LIST_ELEM, element))),
	}
}

// limit matches what exceeds a rate.
func limit(rate int64) []byte {
	data, err := expr.Marshal(byte(nftables.TableFamilyBridge), &expr.Limit{
		Type: expr.LimitTypePktBytes, Rate: uint64(rate), Unit: expr.LimitTimeSecond, Over: true, Burst: burst,
	})
	if err != nil {
		panic(fmt.Sprintf("internal error: %v", err)) // these numbers have their places
	}
	return data
}

func text(s string) []byte { return append([]byte(s), 0) }

// nested returns an attribute that consists of others.
func nested(kind uint16, attributes []byte) []byte {
	return attribute(kind|unix.NLA_F_NESTED, attributes)
}

// attribute returns an attribute as it is sent. None here is longer than some hundred bytes.
func attribute(kind uint16, data []byte) []byte {
	sent, err := netlink.MarshalAttributes([]netlink.Attribute{{Type: kind, Data: data}})
	if err != nil {
		panic(fmt.Sprintf("internal error: %v", err))
	}
	return sent
}

// mark returns the begin or the end of a step.
func mark(kind uint16) netlink.Message {
	return netlink.Message{
		Header: netlink.Header{Type: netlink.HeaderType(kind), Flags: netlink.Request},
		Data:   append([]byte{unix.AF_UNSPEC, unix.NFNETLINK_V0}, binaryutil.BigEndian.PutUint16(unix.NFNL_SUBSYS_NFTABLES)...),
	}
}
