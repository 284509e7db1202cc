package main

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"albatross/messages"
	"albatross/test/vectors"
)

// TestPoliciesThatCanBeUsed compares our refusals with those of the native client.
func TestPoliciesThatCanBeUsed(t *testing.T) {
	compared := make(map[string]int)
	for _, v := range vectors.LoadAs[struct {
		ID, Op string
		Policy struct {
			Unikernels int
			CPUIDs     []int
			Memory     int
			Block      *int
			Bridges    []string
		}
		Results map[string]string
	}](t, vectors.Policy) {
		if v.Op != "usable" || len(v.Policy.CPUIDs) == 0 { // without any, our client takes CPU 0
			continue
		}
		p := messages.Policy{Unikernels: v.Policy.Unikernels, CPUIDs: v.Policy.CPUIDs, Memory: v.Policy.Memory, Bridges: v.Policy.Bridges}
		if v.Policy.Block != nil {
			p.Block = messages.Some(*v.Policy.Block)
		}
		out := newPrinter(nil, t.Output())
		if want := v.Results["2.7.2"]; want == "ok" {
			require.NoError(t, checkPolicy(out, &p), v.ID)
			compared[want]++
		} else {
			require.Equal(t, inputError("[ERROR] "+want), checkPolicy(out, &p), v.ID)
			compared["refused"]++
		}
	}
	require.Greater(t, compared["ok"], 5)
	require.Greater(t, compared["refused"], 5)
}

func TestPolicyThatIsSent(t *testing.T) {
	for line, want := range map[string]messages.Policy{
		"add-policy a 5":                        {Unikernels: 5, CPUIDs: []int{0}, Memory: 512},
		"replace-policy a 5 --mem=17 --cpu=3":   {Unikernels: 5, CPUIDs: []int{3}, Memory: 17},
		"add-policy a 5 --block=0 --bridge=b":   {Unikernels: 5, CPUIDs: []int{0}, Memory: 512, Block: messages.Some(0), Bridges: []string{"b"}},
		"add-policy a 5 --size=7 --network=b":   {Unikernels: 5, CPUIDs: []int{0}, Memory: 512, Block: messages.Some(7), Bridges: []string{"b"}},
		"add-policy a 5 --bridge=b --network=a": {Unikernels: 5, CPUIDs: []int{0}, Memory: 512, Bridges: []string{"a", "b"}},
	} {
		m := sent(t, strings.Fields(line))
		require.Equal(t, messages.Name{Path: "a"}, m.Header.Name, line)
		require.Equal(t, messages.PolicyAdd{Policy: want}, m.Payload, line)
	}
}
