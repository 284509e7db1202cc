// Package gateway owns the Unix sockets of the daemon and the connections of
// its clients. It translates what they say to messages and back, each socket in
// its own codec, and decides nothing.
//
// Everything that comes from a socket is hostile until it has been decoded:
// the number of connections is limited, so is the memory that unfinished
// commands take together, and whoever stops in the middle of a frame loses the
// connection. Where there are too many clients, those go first that have said
// nothing, and then those of the user that has most. Nobody else is cut off.
package gateway
