// Package tender owns how tenders are found, what their command lines are, and
// how they are started.
//
// A start has two steps, because a tender must be on record on disk before it
// executes its first instruction: Launch forks a process that waits at a gate
// (package launcher), and Release lets it become the tender. If the daemon dies
// in between, the process vanishes by itself.
package tender
