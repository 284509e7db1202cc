// Package messages is the vocabulary of the system: names, policies, unikernel
// configurations, statistics, the commands and answers of the wire protocol, and every
// message between actors.
//
// It owns no resource and imports no other package of this module. A value of this
// package is immutable once it was sent: slices inside are shared, so make a copy before
// a change.
package messages
