// Package actors starts and stops the daemon's actors, and serves clients with them. Each
// package below it is an actor, which owns its state (see package supervise) and
// exchanges messages of package messages with the others, except ledger, meter and
// supervise, of which actors are built. No actor can reach into another: only the host
// imports others, to make them its children. ARCHITECTURE.md describes each, with what
// bounds its queue.
//
// An actor's own goroutines and timers send it unexported types of its package, which may
// carry a process or a file that no other actor ever sees.
package actors
