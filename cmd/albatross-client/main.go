// Albatross-client asks an albatross daemon to create, show, restart and destroy
// unikernels and block devices, and to limit what may run: on this machine, or from
// afar with certificates, which it makes and signs as well.
// Commands, arguments, defaults and exit codes are those of the native client, so
// that scripts go on working; other than there, warnings and errors go to
// standard error.
//
// # Reading the source
//
//	root.go          the commands, what they have in common, how the daemon is asked
//	destination.go   who is asked from afar, and with which certificate
//	request.go       how a certificate is asked for instead (--csr)
//	judge.go         what may be in a certificate
//	files.go         certificates and private keys in files
//	options.go       how values of options and arguments are read
//	since.go         how a time is read
//	beginning.go     with which lines of a console is begun
//	devices.go       block devices and networks on the command line
//	print.go         how answers are shown
//	command_text.go  how commands are shown to whoever is to sign them
//	escape.go        why a console cannot drive the terminal
//	errors.go        exit codes, and what to do about an error
//	complete.go      what the shell completes
//	save.go          why a file that is written replaces none, and is never half there
//	progress.go      how far an upload or a dump is
//
// and one file for each command, except that those about policies are in
// policy.go, and those about block devices in block.go, upload.go (set-block) and
// dump.go.
package main

import (
	"context"
	"os"
)

// version is set when a release is built.
var version = "devel"

func main() {
	a := app{stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr}
	os.Exit(int(a.run(context.Background(), os.Args[1:])))
}
