package wire

import (
	"slices"

	"albatross/messages"
)

// FitInfo returns the answer to UnikernelInfo in the form that was asked for.
//
// Older forms tell less. They have a single CPU, so that the lowest stands for
// several. Form 1 is answered by configurations, with empty images.
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

// lowest returns the lowest CPU, and 0 where there is none.
func lowest(cpuids []int) []int {
	if len(cpuids) == 0 {
		return []int{0}
	}
	return []int{slices.Min(cpuids)}
}

// infoConfigs tells infos as configurations without images.
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

// What a client orders, it says in the oldest form that can say it, so that as
// many versions of the daemon as possible understand: 2.5 knows no command of
// form 4 or later (except for info), and 2.7 none of form 1 or 2. What it asks, it asks
// in the newest form that is answered.

// InfoForms returns the forms in which a client asks for unikernels, newest first. It
// must not begin with an old one, although more daemons know it: it tells less, and
// native 2.7.2 dies of it where a unikernel uses several CPUs. A daemon that refuses
// a newer form has no such unikernels: 2.6 knows forms up to 5, 2.5 up to 4.
func InfoForms() []messages.UnikernelInfo {
	return []messages.UnikernelInfo{{Form: 6}, {Form: 5}, {Form: 4}}
}

// OldestCreate creates a unikernel in the oldest form that tells all of c.
func OldestCreate(c messages.Config, force bool) messages.UnikernelCreate {
	return messages.UnikernelCreate{Form: 3 + novelty(&c.Arguments), Force: force, Config: c}
}

// OldestRestart restarts a unikernel, with new arguments where there are any, in
// the oldest form that tells all of them.
func OldestRestart(args messages.Option[messages.Arguments]) messages.UnikernelRestart {
	r := messages.UnikernelRestart{Form: messages.RestartSame, Args: args}
	if args.OK {
		r.Form = messages.RestartArgs0 + messages.RestartForm(novelty(&args.Value))
	}
	return r
}

// novelty returns how many generations of forms it took to tell these arguments:
// configurations 3, 4 and 5 can tell those of 0, 1 and 2.
func novelty(a *messages.Arguments) int {
	switch {
	case len(a.CPUIDs) != 1 || a.CPUs != 1 || a.LinuxBoot.OK:
		return 2
	case a.Startup.OK || !a.AddName:
		return 1
	}
	return 0
}
