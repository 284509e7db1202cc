// Package gateway owns the Unix sockets of the daemon and the connections of its clients.
// It translates their commands to messages and answers back, each socket in its own
// codec, and decides nothing.
//
// Everything from a socket is hostile until it has been decoded. So the number of
// connections is limited, and the memory that unfinished commands take together; a client
// that stops in the middle of a frame loses the connection. If there are too many
// clients, those that have sent nothing lose their places first, then those of the user
// with most. Each reads why, unless it does not read.
package gateway
