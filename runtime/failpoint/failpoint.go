// Package failpoint owns the moments at which tests kill a program, as a power
// cut or the kernel might: those between two things that it does to the world.
//
// A program that was built with the tag failpoints tells the names of those it
// comes to, and dies at one that it was told by its environment. In any other
// program there are none: Here is empty, and the compiler leaves it out with the
// name.
package failpoint

const (
	// Kill is the environment variable that says where to die: a name, a space,
	// and which time it is come to, counted from 1.
	Kill = "ALBATROSS_FAILPOINT"
	// Log is the environment variable with the file that is to have every name,
	// one on a line, in the order in which they are come to.
	Log = "ALBATROSS_FAILPOINT_LOG"
)
