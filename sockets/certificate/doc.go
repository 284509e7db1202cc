// Package certificate makes and reads the certificates by which albatross is
// asked from afar: what a client may do is written in its certificate, in an
// extension that holds one command of the wire protocol.
//
//	extension.go  the command in a certificate
package certificate
