// Package tender finds tenders, builds their command lines, and starts them.
//
// A start has two steps, because a tender must be on record on disk before it executes
// its first instruction: Launch forks a process that waits at a gate (package launcher),
// and Release lets it become the tender. If the daemon dies in between, the process ends
// by itself.
package tender
