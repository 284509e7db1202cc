package main

import (
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"time"

	"albatross/messages"
)

// timeLayout is RFC 3339 in UTC, as native writes it: -00:00 means an unknown zone.
const timeLayout = "2006-01-02T15:04:05-00:00"

func timeText(t time.Time) string { return t.UTC().Format(timeLayout) }

// nameText shows a name as native does.
func nameText(n messages.Name) string { return fmt.Sprintf("[unikernel: %v]", n) }

// successText shows an answer, if this program knows it.
func successText(answer messages.Success, arguments bool) (text string, ok bool) {
	switch s := answer.(type) {
	case messages.SuccessEmpty:
		return "success", true
	case messages.SuccessText:
		return "success: " + escape(string(s.Text)), true
	case messages.SuccessPolicies:
		return listText(s.List, "no policies", policyText), true
	case messages.SuccessInfos:
		return listText(s.List, "no unikernels", func(n messages.NamedInfo) string { return infoText(s.Form, n, arguments) }), true
	case messages.SuccessConsoles:
		return listText(s.List, "no consoles", nameText), true
	case messages.SuccessBlocks:
		return listText(s.List, "no block devices", deviceText), true
	case messages.SuccessDump:
		return fmt.Sprintf("block device compressed %t", s.Compressed), true
	case messages.SuccessImage:
		return fmt.Sprintf("image (compression %t) %d bytes", s.Compressed, len(s.Image)), true
	}
	return "", false
}

// empty reports whether an answer is an empty list.
func empty(answer messages.Success) bool {
	switch s := answer.(type) {
	case messages.SuccessPolicies:
		return len(s.List) == 0
	case messages.SuccessInfos:
		return len(s.List) == 0
	case messages.SuccessConsoles:
		return len(s.List) == 0
	case messages.SuccessBlocks:
		return len(s.List) == 0
	}
	return false
}

func listText[T any](list []T, none string, text func(T) string) string {
	if len(list) == 0 {
		return none
	}
	return joined(list, "\n", text)
}

// joined returns the texts of the elements of a list.
func joined[T any](list []T, separator string, text func(T) string) string {
	texts := make([]string, len(list))
	for i, v := range list {
		texts[i] = text(v)
	}
	return strings.Join(texts, separator)
}

func policyText(n messages.NamedPolicy) string { return nameText(n.Name) + ": " + limitsText(n.Policy) }

// limitsText shows what a policy allows.
func limitsText(p messages.Policy) string {
	text := fmt.Sprintf("policy: %d unikernels %s CPUids %d MB memory ", p.Unikernels, joined(p.CPUIDs, ",", strconv.Itoa), p.Memory)
	if p.Block.OK {
		text += fmt.Sprintf("%d MB block", p.Block.Value)
	} else {
		text += "no block"
	}
	if len(p.Bridges) > 0 {
		text += ", bridges: " + joined(p.Bridges, ", ", escape)
	}
	return text
}

func deviceText(b messages.NamedBlock) string {
	return fmt.Sprintf("block %s size %d MB active %t", nameText(b.Name), b.Size, b.Active)
}

// infoText shows what an answer of that form contains about a unikernel, and its
// arguments if they may be shown.
func infoText(form int, n messages.NamedInfo, arguments bool) string {
	u := n.Info
	lines := []string{
		fmt.Sprintf("%s: typ %v", nameText(n.Name), u.Type),
		fmt.Sprintf("started %s fail behaviour %s", timeText(u.Started), failText(u.Fail)),
		fmt.Sprintf("%sCPUids %s %d MB memory", startupText(form, u), joined(u.CPUIDs, ", ", strconv.Itoa), u.Memory),
		"block devices " + listOrNone(u.Blocks, blockText),
		"bridge " + listOrNone(u.Networks, networkText),
		"digest " + hex.EncodeToString(u.Digest),
	}
	if form >= 6 {
		lines = append(lines, fmt.Sprintf("#cpus %d linux_boot_partition %s", u.CPUs, escape(u.LinuxBoot.Or("not specified"))))
	}
	if u.Argv.OK && arguments {
		lines = append(lines, "argv "+joined(u.Argv.Value, " ", escape))
	}
	return strings.Join(lines, "\n")
}

func startupText(form int, u messages.Info) string {
	switch {
	case form < 5:
		return "" // the answer does not contain it
	case u.Startup.OK:
		return fmt.Sprintf("startup at %d ", u.Startup.Value)
	}
	return "startup at not specified "
}

func failText(f messages.FailBehaviour) string {
	switch {
	case !f.Restart:
		return "quit"
	case len(f.Codes) == 0:
		return "restart all except 1"
	}
	return "restart " + joined(f.Codes, ", ", strconv.Itoa)
}

func listOrNone[T any](list []T, text func(T) string) string {
	if len(list) == 0 {
		return "none"
	}
	return joined(list, ", ", text)
}

func blockText(b messages.BlockInfo) string {
	return fmt.Sprintf("%s -> %s (sector-size: %d bytes, size %d MB)",
		escape(b.Name), escape(b.Device.Or(b.Name)), b.SectorSize.Or(smallestSector), b.Size)
}

func networkText(n messages.NetworkInfo) string {
	text := fmt.Sprintf("%s -> %s", escape(n.Name), escape(n.Bridge.Or(n.Name)))
	if n.MAC.OK {
		text += fmt.Sprintf(" (mac %v)", n.MAC.Value)
	}
	return text
}

func lineText(line messages.DataConsole) string {
	return fmt.Sprintf("console %s: %s", timeText(line.Time), escapeLine(line.Line))
}
