// Package events translates between the protocol of the socket of events and the
// values of package messages. This is what native albatross has no message for:
// how the last runs of unikernels ended, and what happens on the host. Like
// package wire it decides nothing.
//
// # Flow
//
// A client connects, writes one request, reads the answer, and the connection is
// closed; but events are told until the client closes it, or its side of it. Both
// directions are CBOR sequences (RFC 8742) of maps whose keys are integers. In CDDL
// (RFC 8610):
//
//	request = {
//	  1: 1,          ; version
//	  2: "ends" /    ; how the last runs of unikernels ended, or
//	     "settings" / ; what unikernels were created with that native cannot tell, or
//	     "reserve-block" / ; have the disk keep room for all of a block device, or
//	     "events",   ; what happens
//	  ? 3: tstr,     ; a name, as on command lines, or with ':' at its end all at
//	                 ; and below a path; ":" is everything, also if it is absent
//	  ? 4: tdate,    ; since when events are told; absent: only what is new
//	}
//
//	answer  = (* end, all) / (* setting, all) / all / events / failure
//	end     = {
//	  1: tstr,       ; name, relative to the path that was asked for
//	  ? 2: int,      ; exit code
//	  ? 3: int,      ; or the signal that killed it; neither: nobody saw how it ended
//	  ? 4: tdate,    ; when, in UTC and to the millisecond; absent: nobody knows
//	  5: uint,       ; how often it had been started again by then
//	  ? 6: tdate,    ; instead of 4: when it was found to have ended
//	  ? 7: tdate,    ; since when it waits to be started again, if it does. Where
//	                 ; none of 2, 3, 4 and 6 is there, it has not run before that
//	  ? 8: tstr,     ; why it waits, for people
//	  ? 9: true,     ; with 3: the kernel has sent that for want of memory
//	}
//	setting = {
//	  1: tstr,       ; name, relative to the path that was asked for
//	  9: bool,       ; its name is to be added to its arguments, as --name=NAME
//	  ? 10: true,    ; it has refused to start with that, and so is started without
//	}
//	all     = {}     ; that was all: an answer without it has been cut off
//	failure = {0: tstr}
//
//	events  = (* (event / missed), present, * (event / missed))  ; it has no end, but where the
//	                 ; client closes its side: then it ends with present, or what was under way
//	event   = {
//	  1: tstr,       ; name of the unikernel, block device or path (with ':' at
//	                 ; its end), relative to the path that was asked for
//	  ? 2: int,      ; exit code, where it tells of one
//	  ? 3: int,      ; or the signal
//	  4: tdate,      ; when, in UTC and to the millisecond
//	  5: uint,       ; its number; a later event has a larger one
//	  6: kind,
//	  ? 7: tstr,     ; the cause, for people
//	  ? 9: true,     ; with 3: the kernel has sent that for want of memory
//	}
//	kind    = "daemon-started" / "created" / "started" / "adopted" / "exited" /
//	          "restarting" / "destroyed" / "policy-added" / "policy-changed" /
//	          "policy-removed" / "block-created" / "block-set" / "block-removed" /
//	          tstr   ; what newer daemons tell
//	missed  = {8: uint}  ; so many events of any name were here that are not kept
//	                     ; any more: the client reads too slowly
//	present = {}     ; what comes now was not there yet when it was asked for
//
// Events come in the order of their numbers. That is the order of their times, too,
// unless the clock of the host has been set back: the first one that was not before the time that was asked for is
// followed by all that are behind it. The newest 10,000 are kept.
//
// Keys that are not known are ignored, on both sides, so that new ones can be
// added. What changes the meaning of those that are there needs a new version.
//
// # Limits
//
// An item has at most MaxItem bytes, and one of a stream of events MaxEvent;
// lengths are definite, and nesting is limited. What is written is deterministic (RFC 8949 section 4.2).
//
// # Reading the source
//
//	item.go     where an item ends
//	request.go  what clients ask for
//	answer.go   what they are told
//	settings.go what unikernels were created with
//	stream.go   the events that they are told
package events

import "github.com/fxamacker/cbor/v2"

const (
	// Version is the version of requests that is known here.
	Version = 1

	// MaxItem is the size in bytes of the largest item, in either direction.
	MaxItem = 4 << 10

	// MaxEvent is the size in bytes of the largest item of a stream of events: the
	// path of a policy may be long.
	MaxEvent = 64 << 10

	// maxNesting is more than anything has that is known here.
	maxNesting = 8
)

var (
	encMode = mustMode(cbor.EncOptions{
		Sort:    cbor.SortCoreDeterministic,
		Time:    cbor.TimeRFC3339NanoUTC,
		TimeTag: cbor.EncTagRequired,
	}.EncMode())
	decMode = mustMode(cbor.DecOptions{
		DupMapKey:       cbor.DupMapKeyEnforcedAPF,
		IndefLength:     cbor.IndefLengthForbidden,
		MaxNestedLevels: maxNesting,
		TimeTag:         cbor.DecTagRequired,
	}.DecMode())
)

func mustMode[M any](m M, err error) M {
	if err != nil {
		panic("internal error: cannot set up CBOR: " + err.Error())
	}
	return m
}

// appendItem appends an item to dst.
func appendItem(dst []byte, item any) ([]byte, error) {
	b, err := encMode.Marshal(item)
	return append(dst, b...), err
}
