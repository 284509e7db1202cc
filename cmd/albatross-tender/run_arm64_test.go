package main

// callsOfProcessor are forbidden calls that Linux has on this processor only.
var callsOfProcessor []string

// otherEntries are ways into Linux beside that of 64-bit programs: only a program of 32 bits has
// one here, and a guest cannot become one.
var otherEntries []string
