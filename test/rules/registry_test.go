package rules

import "testing"

// ofRegistries is the library for registries, with what it uses.
var ofRegistries = []string{"github.com/google/go-containerregistry/", "github.com/docker/"}

// askRegistries are the packages that may import it, or each other. Nobody else may import these,
// except tests.
var askRegistries = []string{"sockets/registry", "cmd/albatross-client", "cmd/albatross-kubelet"}

// TestOnlyClientsAskRegistries: the daemon, the tenders and the endpoint connect to none, and have
// nothing that could.
func TestOnlyClientsAskRegistries(t *testing.T) {
	requireImportedOnlyBy(t, askRegistries, ofRegistries)
}
