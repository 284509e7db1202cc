package main

import (
	"albatross/actors/ledger"
	"albatross/messages"
)

// checkPolicy completes a policy, and refuses one with which nothing could run.
func checkPolicy(out *printer, p *messages.Policy) error {
	if len(p.CPUIDs) == 0 {
		p.CPUIDs = []int{0}
	}
	// An empty ledger refuses a policy for no other reason.
	if _, err := ledger.New().ProposePolicy(messages.Root, *p); err != nil {
		return inputError("[ERROR] " + err.Error())
	}
	if len(p.Bridges) == 0 {
		out.message(warning, "policy without any network access")
	}
	return nil
}
