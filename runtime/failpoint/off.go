//go:build !failpoints

package failpoint

// Here says that a program has come to a point. Its name is what has just
// happened, below the name of what it has happened to: "tap/kept". No other has
// the same.
func Here(string) {}
