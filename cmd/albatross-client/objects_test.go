package main

import (
	"encoding/json"
	"net/netip"
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"albatross/messages"
	"albatross/sockets/registry"
)

func addresses(list ...string) []netip.Addr { return mapped(list, netip.MustParseAddr) }

// TestObjectOfAUnikernel: the members and their forms. To change them is to break scripts.
func TestObjectOfAUnikernel(t *testing.T) {
	list := listed()
	require.JSONEq(t, `{
		"name": "web:site", "state": "running", "since": "2026-01-02T01:34:05.000Z", "started": "2026-01-02T01:34:05.000Z", "pid": 99, "restarts": 2,
		"cpu_micros": 1234000, "memory_bytes": 12890112, "memory_mb": 64,
		"image": "abcd000000000000000000000000000000000000000000000000000000000000",
		"networks": [{"name": "service", "network": "inside", "addresses": ["10.1.0.2"]}], "published": ["8080:80"]
	}`, asciiJSON(toUnikernelObject(list[0])))
	require.JSONEq(t, `{
		"name": "fails", "state": "restarting", "since": "2026-01-02T03:04:02.000Z", "until": "2026-01-02T03:04:17.000Z", "restarts": 7,
		"cause": "exit 3 asks for a restart", "exit": {"code": 3, "time": "2026-01-02T03:04:02.000Z"}, "memory_mb": 32,
		"image": "0100000000000000000000000000000000000000000000000000000000000000"
	}`, asciiJSON(toUnikernelObject(list[1])))
	require.JSONEq(t, `{
		"name": "gone", "state": "ended", "since": "2025-12-31T01:04:05.000Z", "restarts": 1,
		"exit": {"code": 2, "time": "2025-12-31T01:04:05.000Z"}
	}`, asciiJSON(toUnikernelObject(list[2])))
}

// TestEmptyListsAreLists: a script need not distinguish.
func TestEmptyListsAreLists(t *testing.T) {
	for _, answer := range []messages.Success{messages.SuccessPolicies{}, messages.SuccessBlocks{}, messages.SuccessConsoles{}} {
		text, known := answerJSON(messages.Name{}, answer)
		require.True(t, known)
		require.Equal(t, "[]", text)
	}
	require.Equal(t, `{"path":"a","unikernels":0,"memory_mb":0,"cpus":[],"bridges":[]}`, asciiJSON(toPolicyObject(messages.NamedPolicy{Name: messages.Name{Path: "a"}})))
}

// documented are the objects in docs/json.md, under their titles there.
var documented = map[string]any{
	"A unikernel": unikernelObject{}, "An exit": exitObject{}, "What a run has used": usageObject{}, "A restart after failures": failObject{}, "A health check": healthObject{}, "A version": versionObject{}, "An asker": askerObject{},
	"A network device of a unikernel": deviceObject{}, "A block device of a unikernel": diskObject{}, "A policy": policyObject{},
	"A block device": blockObject{}, "A network": networkObject{}, "A unikernel on a network": stationObject{}, "The end of a run": endObject{},
	"A console": consoleObject{}, "A line of a console": lineObject{}, "A result": resultObject{}, "An event": eventObject{}, "Missed events": missedObject{},
	"What was waited for": waitObject{}, "What a unikernel uses": consumerObject{}, "A context": contextObject{},
	"An image in a registry": artifactObject{}, "An image for one target": targetObject{}, "A device in a manifest": registry.Device{},
	"A name in a registry": referenceObject{}, "What was done with an image": movedObject{},
}

// TestEveryMemberIsDocumented, with whether it can be absent, and no other.
func TestEveryMemberIsDocumented(t *testing.T) {
	text, err := os.ReadFile("../../docs/json.md")
	require.NoError(t, err)
	sections := regexp.MustCompile(`(?m)^## `).Split(string(text), -1)[1:]
	found := map[string]string{}
	for _, s := range sections {
		title, body, _ := strings.Cut(s, "\n")
		found[title] = body
	}
	row := regexp.MustCompile("(?m)^\\| `([a-z0-9_]+)` \\|([^|]*)\\|")
	for title, object := range documented {
		body, there := found[title]
		require.True(t, there, "docs/json.md has no section %q", title)
		said := map[string]bool{}
		for _, m := range row.FindAllStringSubmatch(body, -1) {
			said[m[1]] = strings.Contains(m[2], "may be absent")
		}
		require.Equal(t, membersOf(object), said, title)
	}
}

// membersOf returns the members of an object, and whether they may be absent.
func membersOf(object any) map[string]bool {
	members := map[string]bool{}
	for _, field := range reflect.VisibleFields(reflect.TypeOf(object)) {
		name, options, _ := strings.Cut(field.Tag.Get("json"), ",")
		members[name] = options == "omitempty"
	}
	return members
}

// TestNothingDrivesATerminal: whatever a daemon says, JSON is printable.
func TestNothingDrivesATerminal(t *testing.T) {
	text := asciiJSON(toLineObject(messages.Name{Label: "x"}, messages.DataConsole{Line: "\x1b]0;title\x07 \u009b31m é"}))
	for _, r := range text {
		require.True(t, ' ' <= r && r <= '~', "%q", text)
	}
	var back lineObject
	require.NoError(t, json.Unmarshal([]byte(text), &back))
	require.Equal(t, "\x1b]0;title\x07 \u009b31m é", back.Line)
}
