// Package actors starts and stops the daemon's actors, and serves clients with them.
// Each package below it is an actor, which owns its state (see package supervise) and
// exchanges messages of package messages with the others, except ledger, meter and
// supervise, which are what actors are made of. No actor can reach into another:
// only the host imports others, to make them its children. ARCHITECTURE.md has a section
// for each, with what bounds its queue.
//
// What an actor's own goroutines and timers send it are unexported types of its package:
// they may hand over a process or a file, which no other actor ever sees.
package actors
