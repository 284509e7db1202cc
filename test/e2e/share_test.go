package e2e

import (
	"fmt"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"albatross/messages"
	"albatross/test/guests"
)

// TestUnikernelsShareTheImageInTheStore: their text is in memory once, since it is that of the
// file.
func TestUnikernelsShareTheImageInTheStore(t *testing.T) {
	configs := map[string]messages.Config{"spt": guest("large")}
	if guests.KVM() == nil {
		configs["hvt"] = hvtGuest(t, "large")
	}
	h := newHost(t)
	for target, c := range configs {
		for _, name := range []string{target + "one", target + "two"} {
			h.create(name, c)
			require.Equal(t, "0", h.subscribe(name, 1).line())
			maps, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", h.pid(name)))
			require.NoError(t, err)
			require.Regexp(t, map[string]string{"spt": `\n00100000-\S+ r-xp .*/db/images/`, "hvt": ` r--p .*/db/images/`}[target], string(maps))
		}
	}
}
