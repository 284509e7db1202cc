package trust

import (
	"fmt"
	"os"
	"strings"
)

// nobody owns files whose owner is not in our user namespace, such as the machine's root
// for a user who has made a namespace.
const nobody = 65534

// inNamespace reports whether a number is a user in our user namespace. If that cannot be
// read, it is.
func inNamespace(uid uint32) bool {
	text, err := os.ReadFile("/proc/self/uid_map")
	return err != nil || covers(string(text), uid)
}

// covers reports whether a user is in a map: lines of the first number inside, the first
// outside, and the count.
func covers(text string, uid uint32) bool {
	for line := range strings.Lines(text) {
		var first, outside, count uint64
		if _, err := fmt.Sscan(line, &first, &outside, &count); err != nil {
			return true
		}
		if id := uint64(uid); id >= first && id-first < count {
			return true
		}
	}
	return false
}
