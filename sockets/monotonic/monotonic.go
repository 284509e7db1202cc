// Package monotonic owns moments that can be kept in an atomic integer, and that stay comparable when
// somebody sets the clock of the machine. Unix time does not: whoever was silent for a second could
// seem to have been silent for hours.
package monotonic

import "time"

var start = time.Now()

// Now returns for how long the program has run, in a resolution of nanoseconds.
func Now() time.Duration { return time.Since(start) }
