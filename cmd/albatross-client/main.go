// Albatross-client asks an albatross daemon to create, show, restart and destroy
// unikernels and block devices, and to set policies: on this machine, or remotely with
// certificates, which it also makes and signs. Commands, arguments, defaults and exit
// codes are those of the native client, so that scripts go on working; only warnings and
// errors go to standard error.
//
// # Reading the source
//
//	root.go          the commands, what they have in common, how the daemon is asked
//	destination.go   remote daemons, and the certificates for them
//	context.go       destinations that are kept under names
//	session.go       several commands to a remote daemon, on one connection
//	request.go       requests for certificates (--csr)
//	judge.go         what a certificate may contain
//	files.go         files of certificates and private keys
//	options.go       values of options and arguments
//	since.go         times on the command line
//	beginning.go     the first lines of a console that are shown
//	devices.go       block devices and networks on the command line
//	format.go        the output of answers: text, JSON or native's
//	table.go         how a table fits; then tables.go, what is in them
//	objects.go       the objects of JSON documents
//	native.go        what the native client prints
//	command_text.go  the description of commands for whoever is to sign them
//	escape.go        why a console cannot control the terminal
//	errors.go        exit codes, and what to do about an error
//	manifest.go      the files of apply and export; then manifest_values.go
//	present.go       what there is, for these
//	apply_images.go  images in registries, for 'apply'
//	differences.go   what changes, in words
//	image.go         images in registries; then image_push.go, image_pull.go, image_create.go
//	complete.go      shell completion
//	suggest.go       what a word was meant for
//	output.go        -o of commands that write what they get to a file
//	save.go          why a written file replaces none, and is never incomplete
//	reconnect.go     how one goes on when the daemon is restarted
//	interrupt.go     what an interrupt ends
//	progress.go      the progress of an upload or a dump
//
// and one file for each command, except that those about policies are in policy.go, and
// those about block devices in block.go, upload.go (set-block) and dump.go; inspect-dump and
// extract-dump are in nativedump.go.
package main

import (
	"context"
	"os"
)

// version is set when a release is built.
var version = "devel"

func main() {
	p := newProgram(os.Stdin, os.Stdout, os.Stderr)
	os.Exit(int(p.run(context.Background(), os.Args[1:])))
}
