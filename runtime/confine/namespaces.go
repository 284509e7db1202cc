package confine

import (
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

// separated are the namespaces that each tender gets. A launcher makes them before its gate,
// while the daemon stores the record, so that no start takes longer.
const separated = unix.CLONE_NEWIPC | unix.CLONE_NEWUTS

// Separate gives this thread, and what it executes, namespaces of its own, and returns why it
// did not. A tender that is not ours gets a network of its own if it uses none: nothing else
// keeps it from the network of the machine on most kernels.
func Separate(argv []string, ours bool) (missing []string) {
	if unix.Geteuid() != 0 {
		return nil
	}
	flags := separated
	if !ours && !usesNetwork(argv) {
		flags |= unix.CLONE_NEWNET
	}
	have, err := Effective()
	if err == nil {
		err = have.Require(unix.CAP_SYS_ADMIN)
	}
	if err == nil {
		err = unix.Unshare(flags)
	}
	if err != nil {
		missing = append(missing, fmt.Sprintf("tenders have no namespaces of their own: %v", err))
	}
	return missing
}

func usesNetwork(argv []string) bool {
	for _, arg := range argv {
		if arg == "--" {
			break
		}
		if strings.HasPrefix(arg, "--net:") {
			return true
		}
	}
	return false
}
