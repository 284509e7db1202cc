// Albatross-client asks an albatross daemon on this machine to create, show,
// restart and destroy unikernels. Commands, arguments, defaults and exit codes
// are those of the native client, so that scripts go on working; other than
// there, warnings and errors go to standard error.
//
// # Reading the source
//
//	root.go      the commands, what they have in common, how the daemon is asked
//	options.go   how values of options and arguments are read
//	devices.go   block devices and networks on the command line
//	print.go     how answers are shown
//	escape.go    why a console cannot drive the terminal
//	errors.go    exit codes, and what to do about an error
//	complete.go  what the shell completes
//
// and one file for each command.
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
