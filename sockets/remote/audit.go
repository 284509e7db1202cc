package remote

import (
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"time"

	"albatross/messages"
)

// maxReason bounds a reason in the log: it may be the daemon's, which repeats what the
// client has sent.
const maxReason = 1 << 10

// An Audit is a file with every command of an authenticated client, one JSON object a
// line. A command that is carried out has two lines with the same number: one before the
// daemon gets it, and one with its result. A command that cannot be logged is not carried
// out.
type Audit struct {
	open func() (*os.File, error)

	mu   sync.Mutex
	file *os.File
}

// A Record is a line of an Audit.
type Record struct {
	Time    time.Time `json:"time"`
	Number  uint64    `json:"number"`            // of the command, since the endpoint was started
	Session uint64    `json:"session,omitempty"` // in which it was given, if it was: the number of that
	Address string    `json:"address"`           // of the client
	Chain   []string  `json:"chain"`             // common names, from the root on
	Serials []string  `json:"serials"`           // of the same certificates, in hexadecimal
	Command string    `json:"command"`
	Name    string    `json:"name"`
	Result  string    `json:"result"`           // one of those below
	Reason  string    `json:"reason,omitempty"` // why it was refused or failed
	In      int64     `json:"in,omitempty"`     // bytes of the stream that the client has sent
	Out     int64     `json:"out,omitempty"`    // bytes of answers
}

// Results.
const (
	Accepted = "accepted" // the daemon was asked
	Refused  = "refused"  // by the endpoint
	Done     = "success"  // by the daemon
	Failed   = "failure"  // by the daemon
	Broken   = "broken"   // somebody left before the end
)

// OpenAudit opens the file by a function, which Reopen calls, too. That opens the file to
// append to it, and creates it if necessary.
func OpenAudit(open func() (*os.File, error)) (*Audit, error) {
	a := &Audit{open: open}
	return a, a.Reopen()
}

// Reopen opens the file again, after the old one was moved away. If that fails, the Audit
// goes on with the old one.
func (a *Audit) Reopen() error {
	f, err := a.open()
	if err != nil {
		return fmt.Errorf("cannot open the audit log: %w", err)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	f, a.file = a.file, f
	if f != nil {
		return f.Close()
	}
	return nil
}

// Close closes the file.
func (a *Audit) Close() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.file.Close()
}

// write appends a line, with one write(2). Without an Audit it does nothing.
func (a *Audit) write(r Record) error {
	if a == nil {
		return nil
	}
	r.Reason = r.Reason[:min(len(r.Reason), maxReason)]
	line, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("internal error: cannot encode a line of the audit log: %w", err)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if _, err := a.file.Write(append(line, '\n')); err != nil {
		return fmt.Errorf("cannot write the audit log: %w", err)
	}
	return nil
}

var errNotAudited = errors.New("the endpoint cannot write down what it does, and so does nothing: its operator has to look after the audit log")

// newRecord returns a record with what is known of a client before its command is read.
func newRecord(number uint64, address net.Addr, chain []*x509.Certificate) Record {
	r := Record{Number: number, Address: address.String()}
	for i := len(chain) - 1; i >= 0; i-- {
		r.Chain = append(r.Chain, chain[i].Subject.CommonName)
		r.Serials = append(r.Serials, chain[i].SerialNumber.Text(16))
	}
	return r
}

// who says on whose behalf the endpoint asks the daemon: the names of the chain, and the serial
// number by which the audit log knows the certificate of the client.
func (r Record) who() string {
	if len(r.Chain) == 0 {
		return ""
	}
	serial := " (serial " + r.Serials[len(r.Serials)-1] + ")"
	names := strings.Join(r.Chain[1:], "/")
	if most := messages.MaxFor - len(serial); len(names) > most {
		names = names[:most]
	}
	return messages.CutFor(strings.ToValidUTF8(names, "") + serial)
}
