// Package actors is who decides and who owns: the host, the unikernels, their
// consoles, the store and the sessions, each an actor (see package supervise)
// that owns its state and talks to the others by the messages of package
// messages. ARCHITECTURE.md has the table of who owns what and who says what
// to whom.
//
// What an actor's own goroutines and timers tell it are unexported types of
// this package: they may hand over a process or a file, which no other actor
// ever sees.
package actors
