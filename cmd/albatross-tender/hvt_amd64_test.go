package main

// How a guest of hvt ends on this processor.
const (
	registers    = `rip=0x[0-9a-f]+\nrax=0x`
	faultAddress = " cr2=0x"
)

// mostMemory is how many MB a guest can address.
const mostMemory = 512 << 10

var faults = map[string]string{
	"write-text": "host/guest translation fault",
	"null":       "triple fault", "read-above": "triple fault", "execute-low": "triple fault",
	"execute-data": "triple fault", "execute-bss": "triple fault",
	"execute-heap": "triple fault", "execute-stack": "triple fault",
}

// badPlaces are hypercalls where there are none.
var badPlaces = map[string]string{
	"no-such-call": "invalid access to port 0x563", "call-zero": "invalid access to port 0x500",
	"other-port": "invalid access to port 0x80",
}

var deadlyAttacksHere = map[string][]string{
	"invalid access to port 0x502": {"out-byte", "out-word", "in"},
	"invalid access to":            {"out-string"}, // a port, or an argument, as KVM takes it apart or not
	"it halted its CPU":            {"halt-cpu"},
	"triple fault":                 {"triple-fault"},
	"host/guest translation fault": {"write-text-by-own-tables", "read-above-by-own-tables"},
}

var attacksElsewhere = []string{"out-double", "out-between", "undefined"}
