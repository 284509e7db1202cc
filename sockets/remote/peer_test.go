package remote

import (
	"crypto/ed25519"
	"crypto/tls"
	"crypto/x509"
	"io"
	"math/big"
	"net"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// pair returns a peer, and its client at the other end of a pipe.
func pair(t *testing.T) (*peer, *tls.Conn) {
	public, key, err := ed25519.GenerateKey(nil)
	require.NoError(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1)}
	der, err := x509.CreateCertificate(nil, template, template, public, key)
	require.NoError(t, err)
	here, there := net.Pipe()
	own := tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
	server := tls.Server(here, &tls.Config{Certificates: []tls.Certificate{own}, SessionTicketsDisabled: true})
	client := tls.Client(there, &tls.Config{InsecureSkipVerify: true})
	shaken := make(chan error)
	go func() { shaken <- client.Handshake() }()
	require.NoError(t, server.Handshake())
	require.NoError(t, <-shaken)
	return &peer{tls: server, patience: DefaultPatience}, client
}

// TestPatience: a stream may take as long as it likes, as long as each part of it comes, or is
// taken, in time. A client that sends a byte now and then counts as one that sends nothing.
func TestPatience(t *testing.T) {
	half := make([]byte, stepSize/2)
	for title, tc := range map[string]struct {
		part  []byte
		every time.Duration
		want  error
	}{
		"slow":    {half, DefaultPatience.Step/2 - time.Second, io.EOF},
		"slower":  {half, DefaultPatience.Step/2 + time.Second, os.ErrDeadlineExceeded},
		"stops":   {half, 2 * DefaultPatience.Step, os.ErrDeadlineExceeded},
		"trickle": {half[:1], 10 * time.Second, os.ErrDeadlineExceeded},
	} {
		t.Run("send/"+title, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p, client := pair(t)
				var other sync.WaitGroup
				defer other.Wait()
				other.Go(func() {
					defer client.Close()
					for range 20 {
						if _, err := client.Write(tc.part); err != nil {
							return
						}
						<-time.After(tc.every)
					}
				})
				_, err := io.Copy(io.Discard, struct{ io.Reader }{p})
				if tc.want == io.EOF {
					require.NoError(t, err)
				} else {
					require.ErrorIs(t, err, tc.want)
				}
				require.NoError(t, p.tls.NetConn().Close())
			})
		})
		t.Run("take/"+title, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p, client := pair(t)
				var other sync.WaitGroup
				defer other.Wait()
				other.Go(func() {
					defer client.Close()
					for range 20 {
						if _, err := io.ReadFull(client, make([]byte, len(tc.part))); err != nil {
							return
						}
						<-time.After(tc.every)
					}
				})
				var err error
				for sent := 0; sent < 20*len(half) && err == nil; sent += recordSize {
					_, err = p.Write(half[:recordSize])
				}
				if tc.want == io.EOF {
					require.NoError(t, err)
				} else {
					require.ErrorIs(t, err, tc.want)
				}
				require.NoError(t, p.tls.NetConn().Close())
			})
		})
	}
}
