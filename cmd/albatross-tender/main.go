// Albatross-tender runs a Solo5 image with the command line of Solo5's own tenders, so
// that a machine without them can run unikernels. It checks and opens everything and then
// becomes the unikernel: the same process, without any of the tender.
package main

import (
	"fmt"
	"os"

	"albatross/runtime/solo5"
	"albatross/runtime/spt"
	"albatross/runtime/tender/launcher"
)

// version is set when a release is built.
var version = "devel"

func main() {
	if len(os.Args) > 1 && os.Args[1] == "launch" && !calledAsSolo5(os.Args[0]) {
		os.Exit(launcher.Main(os.Args[2:])) // for albatrossd, so not in the usage
	}
	if err := run(os.Args); err != nil {
		fmt.Fprintf(os.Stderr, "albatross-tender: %v\n", err)
		os.Exit(1)
	}
}

func run(argv []string) error {
	c, err := parse(argv)
	if err != nil {
		return err
	}
	switch c.action {
	case showHelp:
		fmt.Print(usage)
	case showVersion:
		// On standard error, as Solo5's tenders do, where programs look for it.
		fmt.Fprintf(os.Stderr, "albatross-tender, version %s\nABI version %d\n", version, spt.ABIVersion)
	case runGuest:
		return become(c.config, argv)
	}
	return nil
}

// become returns only if it fails.
func become(c solo5.Config, argv []string) error {
	guest, err := spt.Prepare(c)
	if err != nil {
		return err
	}
	return guest.Exec(argv)
}
