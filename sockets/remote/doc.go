// Package remote serves clients over TLS. A client's certificate contains its command,
// and the chain of certificates above contains its policies: every certificate with a
// policy is one step of the path.
//
// The endpoint decides nothing about unikernels, and has no privileges. It owns the
// connections of its clients, and for each of them one to a socket of the daemon, to
// which it speaks the wire protocol as any other client does.
//
// # Flow
//
//	client                       endpoint                          daemon
//	handshake              --->  verify the chain
//	                             read it (ReadChain)
//	                             is any of it revoked? log it
//	                             policies, from the root on   --->
//	                                                          <---  success
//	[image, as a stream]   --->  spool it
//	                             command                      --->
//	[contents of a block]  --->  pass them on                 --->
//	                       <---  answers                      <---
//
// A refused client gets the reason as a failure. If it is about to send a stream, the
// endpoint reads that to its end, since the client would otherwise see only a broken
// connection.
//
// # Sessions
//
// A client that asks for it by ALPN, with a certificate without a command, gives one command after
// another: see client.SessionProtocol. Each has an exchange of its own, with all that belongs to
// one: it is checked, noted down, and preceded by the policies of the chain. The names in commands
// are relative to the path of the chain, so none can be outside.
//
// # Limits
//
// Before its certificate is verified, a connection has little memory and time, and only a
// few may send a large certificate: see gate.go. Afterwards, the number of connections is
// limited, also for each tenant, and a client that neither reads nor writes is cut off,
// unless it is a subscriber. A command of a session has as many bytes as a handshake may have. An
// idle session ends after a while, and every one when a certificate of its chain has been revoked
// or has expired.
//
// # Reading the source
//
//	chain.go    what a chain of certificates asks for: a pure function
//	properties.go  the properties of a command, in its encoded form
//	verify.go   which chain a client has
//	server.go   listening; what all connections share
//	gate.go     handshakes: how many, how long, how large
//	tenants.go  connections of verified clients
//	exchange.go one connection, from its request to the end
//	session.go  the commands of a session
//	permit.go   what may be given in a session
//	policies.go, create.go, blocks.go  its parts
//	relay.go    answers of the daemon, to the client
//	peer.go     the client's end: records, deadlines, the end of a connection
//	spool.go    incomplete images
//	revoked.go  which certificates are revoked
//	audit.go    the log of all commands
//	failurelog.go  a log that unverified clients cannot fill
package remote
