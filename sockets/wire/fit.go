package wire

import (
	"slices"

	"albatross/messages"
)

// FitInfo returns the answer to UnikernelInfo in the requested form.
//
// Older forms contain less. They have a single CPU, the lowest one. The answer of form 1
// are configurations, with empty images.
func FitInfo(form int, list []messages.NamedInfo) messages.Success {
	if form == 1 {
		return messages.SuccessConfigs{List: infoConfigs(list)}
	}
	if form < 6 {
		list = slices.Clone(list)
		for i := range list {
			list[i].Info.CPUIDs = lowest(list[i].Info.CPUIDs)
		}
	}
	return messages.SuccessInfos{Form: form, List: list}
}

// lowest returns the lowest CPU, and 0 if there is none.
func lowest(cpuids []int) []int {
	if len(cpuids) == 0 {
		return []int{0}
	}
	return []int{slices.Min(cpuids)}
}

// infoConfigs converts infos to configurations without images.
func infoConfigs(list []messages.NamedInfo) []messages.NamedConfig {
	configs := make([]messages.NamedConfig, len(list))
	for i, u := range list {
		configs[i] = messages.NamedConfig{Name: u.Name, Config: infoConfig(u.Info)}
	}
	return configs
}

func infoConfig(u messages.Info) messages.Config {
	c := messages.Config{Type: u.Type, Arguments: defaultArguments()}
	c.Fail = u.Fail
	c.CPUIDs = lowest(u.CPUIDs)
	c.Memory = u.Memory
	c.Argv = u.Argv
	for _, b := range u.Blocks {
		c.Blocks = append(c.Blocks, messages.BlockDevice{Name: b.Name})
	}
	for _, n := range u.Networks {
		c.Networks = append(c.Networks, messages.Network{Name: n.Name, Bridge: n.Bridge})
	}
	return c
}

// A client gives a command in the oldest form that can express it, so that as many
// versions of the daemon as possible understand it: 2.5 knows no command of form 4 or
// later (except for info), and 2.7 none of form 1 or 2. It asks a question in the newest
// form that the daemon answers.

// InfoForms returns the forms of info that a client tries, newest first. It must not
// begin with an old one, although more daemons know it: that contains less, and crashes
// native 2.7.2 if a unikernel uses several CPUs. A daemon that refuses a newer form has
// no such unikernels: 2.6 knows forms up to 5, 2.5 up to 4.
func InfoForms() []messages.UnikernelInfo {
	return []messages.UnikernelInfo{{Form: 6}, {Form: 5}, {Form: 4}}
}

// OldestCreate creates a unikernel in the oldest form that expresses all of c.
func OldestCreate(c messages.Config, force bool) messages.UnikernelCreate {
	return messages.UnikernelCreate{Form: 3 + novelty(&c.Arguments), Force: force, Config: c}
}

// OldestRestart restarts a unikernel, with new arguments if there are any, in the oldest
// form that expresses all of them.
func OldestRestart(args messages.Option[messages.Arguments]) messages.UnikernelRestart {
	r := messages.UnikernelRestart{Form: messages.RestartSame, Args: args}
	if args.OK {
		r.Form = messages.RestartArgs0 + messages.RestartForm(novelty(&args.Value))
	}
	return r
}

// novelty returns the oldest generation of forms that can express these arguments: 0, 1
// and 2 are those of the configurations 3, 4 and 5.
func novelty(a *messages.Arguments) int {
	switch {
	case len(a.CPUIDs) != 1 || a.CPUs != 1 || a.LinuxBoot.OK:
		return 2
	case a.Startup.OK || !a.AddName:
		return 1
	}
	return 0
}
