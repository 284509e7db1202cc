// Package failpoint owns the named moments at which tests kill a program, as a power cut
// or the kernel might: those between two effects on the system.
//
// A program built with the tag failpoints logs the names that it reaches, and dies at the
// one that its environment names. In any other program Here is empty, and the compiler
// removes it together with the name.
package failpoint

const (
	// Tag is the build tag.
	Tag = "failpoints"
	// Kill is the environment variable that says where to die: a name, a space, and at
	// which visit, counted from 1.
	Kill = "ALBATROSS_FAILPOINT"
	// Log is the environment variable with the file for the names reached, one on a line,
	// in order.
	Log = "ALBATROSS_FAILPOINT_LOG"
)
