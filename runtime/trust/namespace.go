package trust

import (
	"fmt"
	"os"
	"strings"
)

// nobody is whom files belong to whose owner is not in our user namespace, such as
// the root of the machine for a user who has made a namespace of their own.
const nobody = 65534

// inNamespace reports whether somebody in our user namespace has a number. Where it
// cannot be told, there is somebody.
func inNamespace(uid uint32) bool {
	text, err := os.ReadFile("/proc/self/uid_map")
	return err != nil || covers(string(text), uid)
}

// covers reports whether a user is in a map: lines of the first number inside, the first
// outside, and how many there are.
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
