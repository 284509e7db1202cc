package main

// How a guest of hvt ends on this processor.
const (
	registers    = `pc=0x[0-9a-f]+\nx0=0x`
	faultAddress = " far=0x"

	noMemory = "an exception that it does not handle: it touches memory that is not there"
	noCode   = "an exception that it does not handle: it executes what is no code"
)

// mostMemory is how many MB a guest can address.
const mostMemory = 4 << 10

var faults = map[string]string{
	"write-text": "host/guest translation fault",
	"null":       noMemory, "read-above": noMemory, "execute-low": noMemory,
	"execute-data": noCode, "execute-bss": noCode, "execute-heap": noCode, "execute-stack": noCode,
}

// badPlaces are hypercalls where there are none.
var badPlaces = map[string]string{
	"no-such-call": "invalid access to address 0x100000318", "call-zero": "invalid access to address 0x100000000",
	"other-port": "invalid access to address 0x110000000",
}

var deadlyAttacksHere = map[string][]string{
	"invalid access to address 0x100000010":                        {"out-byte", "out-word", "out-double", "in"},
	"invalid access to address 0x100000014":                        {"out-between"},
	"an exception that it does not handle: an unknown instruction": {"undefined"},
	"host/guest translation fault":                                 {"write-text-by-own-tables", "read-above-by-own-tables"},
}

var attacksElsewhere = []string{"out-string", "halt-cpu", "triple-fault"}
