// Package proc answers two questions about a process: is it still the recorded one, and
// how did it end.
//
// A pid identifies a process only until that is reaped; afterwards the kernel gives it to
// another one. So the record of a process contains its start time and its boot
// (messages.Process), and a pidfd holds it, which always refers to the same process.
package proc
