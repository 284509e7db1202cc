package main

// callsOfProcessor are forbidden calls that Linux has on this processor only.
var callsOfProcessor = []string{"fork", "get-fs", "set-gs"}

// otherEntries are ways into Linux beside that of 64-bit programs.
var otherEntries = []string{"i386", "vsyscall"}
