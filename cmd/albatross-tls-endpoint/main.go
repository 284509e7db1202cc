// Albatross-tls-endpoint serves clients over TLS: it verifies the chain of certificates of a
// client, and passes the command in it on to albatrossd. It needs no privileges except
// membership in the daemon's group.
//
// # Reading the source
//
//	main.go    the command line
//	run.go     the configuration of the server
//	inetd.go   one connection that somebody else has accepted
package main

import (
	"time"

	"github.com/spf13/cobra"

	"albatross/cmd/commandline"
	"albatross/sockets/remote"
)

// version is set when a release is built.
var version = "devel"

// options are the command line.
type options struct {
	ca, certificate, key string // files

	ip     string
	port   uint16
	inetd  bool
	tmpdir string
	spool  string
	crl    string
	audit  string
	single bool // no sessions

	handshake time.Duration

	inherits bool // its socket comes from systemd
	log      commandline.Logging
}

func main() {
	if err := quiet(); err != nil {
		commandline.Fail("albatross-tls-endpoint", err, 1)
	}
	commandline.Main(command(), 1)
}

func command() *cobra.Command {
	var o options
	cmd := &cobra.Command{
		Use:   "albatross-tls-endpoint CACERT CERT KEY",
		Short: "Pass on commands in the certificates of TLS clients",
		Long: "Serve clients over TLS 1.3. Chains of certificates lead to the one in CACERT; CERT and KEY\n" +
			"are the certificate of this server and its private key, all of them in PEM.\n" +
			"A SIGHUP makes it open the file of --audit again.",
		Args: cobra.ExactArgs(3),
		RunE: func(c *cobra.Command, args []string) error {
			if err := commandline.CheckTexts(c.Flags()); err != nil {
				return err
			}
			o.ca, o.certificate, o.key = args[0], args[1], args[2]
			ctx, stop := commandline.UntilTold()
			defer stop()
			return run(ctx, o)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&o.ip, "ip", "", "which address to listen on (all)")
	flags.Uint16Var(&o.port, "port", 1025, "which port to listen on; 0: any, which is logged")
	flags.BoolVar(&o.inetd, "inetd", false, "serve one connection, which is standard input: with --syslog, since there is no standard error")
	flags.BoolVar(&o.inherits, "systemd-socket-activation", false, "fail where systemd has not opened the socket; one that it has opened is used in any case")
	flags.StringVar(&o.tmpdir, "tmpdir", "/run/albatross", "where the daemon has its sockets")
	flags.StringVar(&o.spool, "spool", "/var/tmp", "directory of images that are being received, on a disk")
	flags.StringVar(&o.crl, "crl", "", "file of lists of revoked certificates, in PEM; while it is not there or wrong, nobody is served")
	flags.StringVar(&o.audit, "audit", "", "file to append a JSON object to for each command; while that cannot be written, nobody is served")
	flags.BoolVar(&o.single, "no-sessions", false, "serve only clients whose certificate contains a command")
	flags.DurationVar(&o.handshake, "handshake-timeout", remote.DefaultGate.Patience, "how long a client may take for its handshake; four times as long with an image in its certificate")
	o.log.Register(flags)
	commandline.Daemon(cmd, version)
	cmd.MarkFlagsMutuallyExclusive("inetd", "port")
	cmd.MarkFlagsMutuallyExclusive("inetd", "ip")
	cmd.MarkFlagsMutuallyExclusive("systemd-socket-activation", "port")
	cmd.MarkFlagsMutuallyExclusive("systemd-socket-activation", "inetd")
	return cmd
}
