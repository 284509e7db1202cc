// Package certificate makes and reads the certificates of remote clients: an extension of a
// client's certificate holds one command of the wire protocol.
//
// An Authority signs certificates. Endpoints trust the self-signed one at the end of a chain.
// An authority below it holds a policy, which limits all that it signs. This package decides
// neither what a client may do nor what may be signed.
//
//	extension.go  the command in a certificate
//	key.go        private keys
//	name.go       the names in certificates: encoding and comparison
//	chain.go      certificates that vouch for each other, in one file
//	delegate.go   which path and policies a chain delegates, and what a client may ask for
//	verify.go     which chain leads to a trusted authority
//	request.go    requests for certificates
//	host.go       the names and addresses of an endpoint
//	issue.go      authorities, and what they sign
//	revoke.go     lists of revoked certificates
package certificate
