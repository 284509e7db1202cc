package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"time"

	"albatross/runtime/activation"
	"albatross/runtime/fair"
	"albatross/runtime/trust"
	"albatross/sockets/certificate"
	"albatross/sockets/remote"
)

// run runs the endpoint until ctx is done.
func run(ctx context.Context, o options) (err error) {
	log, err := o.log.Logger("albatross-tls-endpoint")
	if err != nil {
		return err
	}
	config, err := configure(o, log)
	if err != nil {
		return err
	}
	var reopen func() error
	if config.Audit != nil {
		defer func() { err = errors.Join(err, config.Audit.Close()) }()
		reopen = config.Audit.Reopen
	}
	defer activation.OnHangup(log, reopen)()
	server := remote.New(config)
	if o.inetd {
		return serveStdin(ctx, server)
	}
	l, err := listen(o)
	if err != nil {
		return err
	}
	log.Info("Listening", "address", l.Addr())
	server.Serve(ctx, l)
	log.Info("Stopping", "cause", context.Cause(ctx))
	return nil
}

func configure(o options, log *slog.Logger) (remote.Config, error) {
	if o.handshake <= 0 {
		return remote.Config{}, fmt.Errorf("cannot use --handshake-timeout %v: it must be longer than nothing", o.handshake)
	}
	config := remote.Config{
		Work:     fair.New(runtime.GOMAXPROCS(0)).Do,
		Sockets:  filepath.Join(o.tmpdir, "util"),
		Now:      time.Now,
		Log:      log,
		Gate:     remote.DefaultGate.WithPatience(o.handshake),
		Conns:    remote.DefaultConns,
		Patience: remote.DefaultPatience,
		Single:   o.single,
	}
	var err error
	if config.CA, err = readCA(o.ca); err != nil {
		return config, fmt.Errorf("cannot use %s: %w", o.ca, err)
	}
	if config.Certificate, err = tls.LoadX509KeyPair(o.certificate, o.key); err != nil {
		return config, fmt.Errorf("cannot use the certificate of this server: %w", err)
	}
	if config.Spool, err = remote.OpenSpool(o.spool, remote.DefaultSpool); err != nil {
		return config, fmt.Errorf("%w: use another directory for --spool", err)
	}
	if o.crl != "" {
		if config.Revocations, err = remote.OpenRevocations(o.crl, config.CA, config.Now, log); err != nil {
			return config, err
		}
	}
	if o.audit != "" {
		config.Audit, err = remote.OpenAudit(func() (*os.File, error) { return trust.Append(o.audit, 0o600) })
	}
	return config, err
}

// readCA reads the one certificate to which all chains must lead.
func readCA(path string) (*x509.Certificate, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	chain, err := certificate.ParseChain(text)
	switch {
	case err != nil:
		return nil, err
	case len(chain) > 1:
		return nil, fmt.Errorf("there are %d certificates in it, and only one is trusted", len(chain))
	case !chain[0].IsCA:
		return nil, errors.New("it is not the certificate of a CA")
	}
	return chain[0], nil
}

// listen returns the socket of the service manager, if there is one, else its own.
func listen(o options) (net.Listener, error) {
	inherited, err := activation.TCP()
	if err != nil {
		return nil, err
	}
	switch {
	case inherited != nil:
		return inherited, nil
	case o.inherits:
		return nil, errors.New("cannot use --systemd-socket-activation: systemd has not opened a socket for this program")
	}
	l, err := net.Listen("tcp", net.JoinHostPort(o.ip, strconv.Itoa(int(o.port))))
	if err != nil {
		return nil, fmt.Errorf("cannot listen: %w", err)
	}
	return l, nil
}
