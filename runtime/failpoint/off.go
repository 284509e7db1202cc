//go:build !failpoints

package failpoint

// Here marks a point that the program has reached. Its unique name says what has just
// happened, after the thing that it has happened to: "tap/kept".
func Here(string) {}
