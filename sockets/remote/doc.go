// Package remote serves clients over TLS. What a client asks for is the command
// in its certificate, and what it may have is written in the chain of
// certificates above: every certificate with a policy is one step of the path.
//
// It decides nothing about unikernels, and has no privileges. It owns the
// connections of its clients, and for each of them one to a socket of the daemon,
// to which it speaks the wire protocol as any other client does.
//
// # Flow
//
//	client                       endpoint                          daemon
//	handshake              --->  verify the chain
//	                             read it (ReadChain)
//	                             is any of it revoked? note it down
//	                             policies, from the root on   --->
//	                                                          <---  success
//	[image, as a stream]   --->  spool it
//	                             command                      --->
//	[contents of a block]  --->  pass them on                 --->
//	                       <---  answers                      <---
//
// Whoever is refused is told why, as a failure: a client that is about to send a
// stream would rather see a broken connection, so the stream is read to its end.
//
// # What a client may cost
//
// Before its certificate is verified, a connection has little memory and time, and
// most of them have none for a large certificate: see gate.go. After that, the
// number of connections is limited, also for each tenant of the root, and whoever
// neither reads nor writes is cut off, except for subscribers.
//
// # Reading the source
//
//	chain.go    what a chain of certificates asks for: a pure function
//	conduct.go  what each command is like, as it was said
//	verify.go   which chain a client has
//	server.go   listening; what all connections share
//	gate.go     handshakes: how many, how long, how large
//	tenants.go  connections of known clients
//	exchange.go one connection, from its request to the end
//	policies.go, create.go, blocks.go  its parts
//	relay.go    answers of the daemon, to the client
//	peer.go     the client's end: records, deadlines, the last words
//	spool.go    images that are on their way
//	revoked.go  which certificates are revoked
//	audit.go    who has asked for what
//	complaints.go  a log that strangers cannot fill
package remote
