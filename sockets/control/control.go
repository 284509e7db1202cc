// Package control translates between the protocol of the control socket and the values
// of package messages. The protocol carries what native albatross has no message for: how
// the last runs of unikernels ended, and what happens on the host. Like package wire it
// decides nothing.
//
// # Flow
//
// A client connects, writes one request and reads the answer; then the daemon closes the
// connection. A stream of events goes on until the client closes the connection, or its
// side of it. Both directions are CBOR sequences (RFC 8742) of maps whose keys are
// integers. In CDDL (RFC 8610):
//
//	request = {
//	  1: 1,          ; version
//	  2: "restart" / ; a unikernel with all its arguments, or
//	     "add-policy" / ; with its owner, if it is to have one, or
//	     "create-block" / ; the same of a block device of 10 MB, or
//	     "own" /     ; give something that has none an owner, or
//	     "owners" /  ; all that has one, or
//	     "ends" /    ; how the last runs of unikernels ended, or
//	     "status" /  ; the status of unikernels, or
//	     "settings" / ; settings of unikernels that native messages lack, or
//	     "reserve-block" / ; reserve room on the disk for all of a block device, or
//	     "stop" /    ; stop a unikernel, which stays on record, or
//	     "start" /   ; start it again, or
//	     "rename" /  ; give a stopped one another name, or
//	     "history" / ; the former versions of one, the last one first, or
//	     "rollback" / ; replace one by a former version, or
//	     "events",   ; what happens
//	  ? 3: tstr,     ; a name, as on command lines, or with ':' at its end all at
//	                 ; and below a path; ":" is everything, also if it is absent
//	  ? 4: tdate,    ; events since this time; absent: only new ones
//	  ? 9: tstr,     ; the new name, for "rename"
//	  ? 10: uint,    ; which version, for "rollback": 1 is the last one
//	  ? 11: tstr,    ; the owner, for "add-policy", "create-block" and "own"
//	  ? 12: what,    ; for "own"
//	  ? 13: policy,  ; for "add-policy"
//	  ? 14: tstr,    ; on whose behalf the client asks, at most 200 bytes. Whoever may use the
//	                 ; socket may say so: it is put on record together with the user who has
//	  ? 15: true,    ; for "restart": what it is started with stays as it is
//	}
//	what    = "unikernel" / "network" / "block" / "policy"
//	policy  = {
//	  1: uint,       ; how many unikernels
//	  2: uint,       ; memory, in MB
//	  ? 3: [* uint], ; CPUs
//	  ? 4: uint,     ; block devices, in MB; absent: none
//	  ? 5: [* tstr], ; bridges
//	}
//
//	answer  = (* end, all) / (* status, all) / (* setting, all) / (* version, all) / (* owned, all) / all / events / failure
//	end     = {
//	  1: tstr,       ; name, relative to the requested path
//	  ? 2: int,      ; exit code
//	  ? 3: int,      ; or the signal that killed it; neither: nobody saw how it ended
//	  ? 4: tdate,    ; when, in UTC and to the millisecond; absent: unknown
//	  5: uint,       ; how often it had been started again by then
//	  ? 6: tdate,    ; instead of 4: when it was found to have ended
//	  ? 7: tdate,    ; since when it waits to be started again, if it does. Without
//	                 ; 2, 3, 4 and 6 it has not run before that
//	  ? 8: tstr,     ; why it waits, for people
//	  ? 9: true,     ; with 3: the kernel has killed it for lack of memory
//	  ? 10: usage,   ; absent: unknown
//	  ? 11: tdate,   ; since when it is stopped, if it is. Without 2, 3, 4 and 6 it has not
//	                 ; run before that
//	}
//	usage   = {      ; what it had used by its end
//	  1: uint,       ; microseconds of CPU time outside of the kernel
//	  2: uint,       ; and in the kernel
//	  ? 3: uint,     ; the most memory it had at once, in KB; absent: unknown
//	}
//	status  = {
//	  1: tstr,       ; name, relative to the requested path
//	  2: "starting" / "running" / "restarting" / "waiting" / "stopped" / "ended" /
//	     tstr,       ; of newer daemons
//	  ? 3: bstr,     ; SHA-256 of its image; absent from what has ended, like 4, 5 and 14 to 20
//	  ? 4: uint,     ; memory, in MB
//	  ? 5: [* uint], ; CPUs it is pinned to
//	  ? 6: tdate,    ; when it was last started; absent: not yet
//	  ? 7: uint,     ; pid of its tender, if it runs
//	  ? 8: uint,     ; how often it has been started again by itself
//	  ? 9: tdate,    ; since when it waits to be started again, if it does
//	  ? 10: tstr,    ; why it waits, for people
//	  ? 11: tdate,   ; when it is started again; absent: at once, or when 10 has an end
//	  ? 12: end,     ; of the last run under this name
//	  ? 13: used,    ; absent: it does not run, or could not be measured
//	  ? 14: [* device],
//	  ? 15: [* block],
//	  ? 16: [* publication],
//	  ? 17: true,    ; start it again when it exits,
//	  ? 18: [* int], ; with one of these codes only; absent: any
//	  ? 19: uint,    ; when the daemon starts, those with a low number are started first
//	  ? 20: true,    ; add its name to its arguments, as --name=NAME
//	  ? 21: tdate,   ; since when it is stopped, if it is
//	  ? 22: "checking" / "healthy" / "unhealthy" / tstr, ; its health, if that is checked
//	  ? 23: tstr,    ; why it is unhealthy, for people
//	  ? 24: check,   ; how its health is checked
//	  ? 25: tstr,    ; its owner
//	  ? 26: tstr,    ; where its image is from, as oci://REGISTRY/REPOSITORY:TAG@sha256:DIGEST
//	}
//	used    = {      ; what it has used since it was started
//	  ? 1: uint,     ; microseconds of CPU time
//	  ? 2: uint,     ; bytes of memory that it has now
//	}
//	device  = {      ; a network device
//	  1: tstr,       ; its name in the image's manifest
//	  2: tstr,       ; the network or bridge
//	  3: bstr,       ; MAC address
//	  ? 4: [* address], ; on a network of the daemon's
//	  ? 5: uint,     ; bytes per second that it may send; absent: any
//	  ? 6: true,     ; it gets its address as arguments of MirageOS
//	}
//	block   = {
//	  1: tstr,       ; its name in the image's manifest
//	  2: tstr,       ; the block device, relative to the path of the unikernel
//	  ? 3: uint,     ; bytes of a sector; absent: 512
//	  ? 4: uint,     ; MB
//	}
//	address = bstr   ; 4 or 16 bytes
//	publication = {  ; a port of the host that leads to one of its first network device
//	  1: uint,       ; port of the host
//	  2: uint,       ; port of the unikernel
//	  ? 3: address,  ; of the host; absent: any
//	  ? 4: true,     ; UDP
//	}
//	check   = {      ; of the health, after each start
//	  1: "http" / "tcp" / "dns" / "exit-free",
//	  ? 2: address,  ; absent: its own
//	  ? 3: uint,     ; port, of the unikernel without 2; absent for "exit-free" only
//	  ? 4: tstr,     ; the path and query to ask for, or the name
//	  5: uint,       ; milliseconds that it may take, or with "exit-free" that it must run
//	}
//	setting = {
//	  1: tstr,       ; name, relative to the requested path
//	  9: bool,       ; add its name to its arguments, as --name=NAME
//	  ? 10: true,    ; it has refused to start with that, and so is started without
//	  ? 11: deploy,  ; published ports, addresses and rates of its devices, its health check, origin
//	}
//	owned   = {
//	  1: tstr,       ; name, relative to the requested path; of a policy with ':' at its end
//	  2: what / tstr,
//	  3: tstr,       ; the owner
//	}
//	version = {
//	  1: bstr,       ; SHA-256 of its image
//	  2: uint,       ; memory, in MB
//	  ? 3: tdate,    ; when it was replaced
//	  ? 4: tstr,     ; why, for people
//	  ? 5: asker,    ; who has asked for it
//	  ? 6: exit,     ; how it had ended before it was replaced, if it had
//	  ? 7: true,     ; it was not replaced, and lacks 3, 4 and 6. It is the last item
//	  ? 8: tstr,     ; where its image is from
//	}
//	asker   = {
//	  1: uint,       ; the user at the socket
//	  ? 2: tstr,     ; on whose behalf that asks, as it has said
//	}
//	exit    = {      ; neither: nobody saw how it ended
//	  ? 2: int,      ; exit code
//	  ? 3: int,      ; or the signal
//	  ? 9: true,     ; with 3: for lack of memory
//	}
//	all     = {}     ; the end: an answer without it has been cut off
//	failure = {0: tstr}
//
//	events  = (* (event / missed), present, * (event / missed))  ; endless, unless the client
//	                 ; closes its side: then it ends with present, or what was under way
//	event   = {
//	  1: tstr,       ; name of the unikernel, block device or path (with ':' at
//	                 ; its end), relative to the requested path
//	  ? 2: int,      ; exit code, if the event has one
//	  ? 3: int,      ; or the signal
//	  4: tdate,      ; when, in UTC and to the millisecond
//	  5: uint,       ; its number; a later event has a larger one
//	  6: kind,
//	  ? 7: tstr,     ; the cause, for people
//	  ? 9: true,     ; with 3: the kernel has killed it for lack of memory
//	  ? 10: usage,   ; of what has ended; absent: unknown
//	}
//	kind    = "daemon-started" / "created" / "started" / "adopted" / "healthy" /
//	          "unhealthy" / "exited" /
//	          "restarting" / "stopped" / "destroyed" / "policy-added" / "policy-changed" /
//	          "policy-removed" / "block-created" / "block-set" / "block-removed" /
//	          tstr   ; of newer daemons
//	missed  = {8: uint}  ; so many events of any name were removed before they were
//	                     ; read: the client reads too slowly
//	present = {}     ; what follows happened after the request
//
// Events come in the order of their numbers. That is the order of their times, too,
// unless the clock of the host has been set back: the first event not before the
// requested time is followed by all later ones. The daemon keeps the newest 10,000.
//
// Both sides ignore unknown keys, so that new ones can be added. A change of meaning
// needs a new version.
//
// # Limits
//
// An item has at most MaxItem bytes, an event, a status or a setting MaxEvent; lengths are
// definite, and nesting is limited. Encoding is deterministic (RFC 8949 section 4.2).
//
// # Reading the source
//
//	item.go     where an item ends
//	request.go  requests
//	answer.go   answers
//	status.go   the status of unikernels
//	history.go  former versions
//	owners.go   owners, and policies that have one
//	health.go   checks of health
//	settings.go settings of unikernels
//	stream.go   the stream of events
package control

import "github.com/fxamacker/cbor/v2"

const (
	// Version is the known version of requests.
	Version = 1

	// MaxItem is the size in bytes of the largest item, in either direction.
	MaxItem = 4 << 10

	// MaxEvent is the size in bytes of the largest event or status: the path of a policy may
	// be long, and a unikernel may have many devices.
	MaxEvent = 64 << 10

	// maxNesting is deeper than any known item.
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
