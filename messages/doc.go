// Package messages is the vocabulary of the system: names, policies,
// unikernel configurations, statistics, the commands and answers of the wire
// protocol, and every message that actors exchange.
//
// It owns no resource and knows no other package of this module. A value of
// this package is immutable once it has been handed to somebody: slices inside
// are shared, so whoever wants to change one makes a copy first.
package messages
