// Package certificate makes and reads the certificates by which albatross is
// asked from afar: what a client may do is written in its certificate, in an
// extension that holds one command of the wire protocol.
//
// An Authority signs. The one at the end of a chain, which signs itself, is what
// endpoints trust; an authority below it holds a policy, and what it signs can do
// no more than that policy allows. Nothing here judges what may be said or signed.
//
//	extension.go  the command in a certificate
//	key.go        private keys
//	name.go       the names in certificates: how they are written, and compared
//	chain.go      certificates that vouch for each other, in one file
//	delegate.go   what those above a client's hand down, and what its own may ask for
//	verify.go     which chain leads to somebody who is trusted
//	request.go    requests for certificates
//	host.go       at which names and addresses an endpoint is reached
//	issue.go      authorities, and what they sign
//	revoke.go     what they have signed and take back
package certificate
