// Package proc owns the answer to two questions about a process: is it still
// the one that was meant, and how did it end.
//
// A pid names a process only while nobody has reaped it; afterwards the kernel
// gives it to somebody else. So a process is recorded with its start time and
// the boot it belongs to (messages.Process), and is held by a pidfd, which
// never comes to mean another one.
package proc
