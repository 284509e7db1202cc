package main

import (
	"fmt"
	"strconv"
	"strings"

	"albatross/messages"
)

// commandText describes a command for whoever is to sign it, with the arguments of a
// unikernel if they may be shown.
func commandText(command messages.Command, arguments bool) string {
	switch c := command.(type) {
	case messages.PolicyAdd:
		return "policy add " + limitsText(c.Policy)
	case messages.ConsoleSubscribe:
		if c.Since.OK {
			return "console subscribe since " + timeText(c.Since.Value)
		}
		return fmt.Sprintf("console subscribe number %d", c.Count.Value)
	case messages.UnikernelCreate:
		verb := "create"
		if c.Force {
			verb = "force create"
		}
		return fmt.Sprintf("unikernel %s typ %v compression %t image %d bytes\n%s",
			verb, c.Config.Type, c.Config.Compressed, len(c.Config.Image), argumentsText(c.Config.Arguments, arguments))
	case messages.UnikernelRestart:
		if c.Args.OK {
			return "unikernel restart\n" + argumentsText(c.Args.Value, arguments)
		}
		return "unikernel restart"
	case messages.BlockAdd:
		return fmt.Sprintf("block add %d MB", c.Size)
	}
	return plainText(command)
}

// plainText names a command without parameters: "block set" for messages.BlockSet.
func plainText(command messages.Command) string {
	_, name, _ := strings.Cut(fmt.Sprintf("%T", command), ".")
	var text strings.Builder
	for i, r := range name {
		if i > 0 && 'A' <= r && r <= 'Z' {
			text.WriteByte(' ')
		}
		text.WriteRune(r)
	}
	return strings.ToLower(text.String())
}

func argumentsText(args messages.Arguments, arguments bool) string {
	startup := "not specified"
	if args.Startup.OK {
		startup = strconv.Itoa(args.Startup.Value)
	}
	text := fmt.Sprintf("fail behaviour %s startup at %s add_name %t CPUids %s\n%d MB memory block devices %s bridge %s #cpus %d linux_boot %s",
		failText(args.Fail), startup, args.AddName, joined(args.CPUIDs, ", ", strconv.Itoa), args.Memory,
		listOrNone(args.Blocks, blockDeviceText), listOrNone(args.Networks, interfaceText), args.CPUs, escape(args.LinuxBoot.Or("not specified")))
	if args.Argv.OK && arguments {
		text += "\nargv " + joined(args.Argv.Value, " ", escape)
	}
	return text
}

func blockDeviceText(b messages.BlockDevice) string {
	return fmt.Sprintf("%s -> %s", escape(b.Name), escape(b.Device.Or(b.Name)))
}

func interfaceText(n messages.Network) string {
	text := fmt.Sprintf("%s -> %s", escape(n.Name), escape(n.Bridge.Or(n.Name)))
	if n.MAC.OK {
		text += fmt.Sprintf(" (mac %v)", n.MAC.Value)
	}
	return text
}
