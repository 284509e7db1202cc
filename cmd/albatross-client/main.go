// Albatross-client asks an albatross daemon to create, show, restart and destroy
// unikernels and block devices, and to set policies: on this machine, or remotely with
// certificates, which it also makes and signs. Commands, arguments, defaults and exit
// codes are those of the native client, so that scripts go on working; only warnings and
// errors go to standard error.
//
// # Reading the source
//
//	root.go          the program: its parts, and its commands
//	printer.go       what is printed, and how much; then format.go, progress.go and unsent.go
//	daemon.go        how a daemon is reached; then ask.go, and from afar destination.go and session.go
//	reconnect.go     how one goes on when the daemon is restarted
//	inventory.go     what the daemon is asked about what there is; then statuses.go, arguments.go,
//	                 present.go and lists.go
//	uploader.go      how contents are sent; then contents.go and compression.go
//	downloader.go    how they come; then output.go and save.go
//	creator.go       how unikernels are created; then image_file.go and unikernel_options.go
//	watch.go         whether they go on to run
//	consoles.go      what they print; then beginning.go, and escape.go
//	registry.go      images in registries; then registry_image.go
//	completer.go     shell completion; then about.go, and suggest.go for what a word was meant for
//
//	errors.go        exit codes, and what to do about an error
//	options.go       values of options and arguments; then names.go, since.go and devices.go
//	table.go         how a table fits; then tables.go, what is in them
//	objects.go       the objects of JSON documents
//	native.go        what the native client prints
//	manifest.go      the files of apply and export; then manifest_values.go, source.go and differences.go
//	context_file.go  destinations that are kept under names
//	files.go         files of certificates and private keys; then issued.go
//	judge.go         what a certificate may contain; then request.go, and command_text.go
//	interrupt.go     what an interrupt ends
//
// and a file for each command, which has its name: 'network create' is in network_create.go. A command
// is a function that takes what it needs of these. What only it uses is in its file, or in files
// whose names begin with its own, such as apply_plan.go.
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
