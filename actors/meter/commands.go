package meter

import "albatross/messages"

// command is what a command is called, in whatever form it was said. What is
// none has one name together.
func command(p messages.Payload) string {
	switch p.(type) {
	case messages.UnikernelInfo:
		return "unikernel_info"
	case messages.UnikernelCreate:
		return "unikernel_create"
	case messages.UnikernelDestroy:
		return "unikernel_destroy"
	case messages.UnikernelRestart:
		return "unikernel_restart"
	case messages.UnikernelGet:
		return "unikernel_get"
	case messages.PolicyInfo:
		return "policy_info"
	case messages.PolicyAdd:
		return "policy_add"
	case messages.PolicyRemove:
		return "policy_remove"
	case messages.BlockList:
		return "block_list"
	case messages.BlockAdd, messages.BlockOldAdd:
		return "block_add"
	case messages.BlockRemove:
		return "block_remove"
	case messages.BlockSet, messages.BlockOldSet:
		return "block_set"
	case messages.BlockDump, messages.BlockOldDump:
		return "block_dump"
	case messages.BlockReserve:
		return "block_reserve"
	case messages.ConsoleAdd:
		return "console_add"
	case messages.ConsoleSubscribe:
		return "console_subscribe"
	case messages.ConsoleListInactive:
		return "console_list_inactive"
	case messages.StatsAdd:
		return "stats_add"
	case messages.StatsRemove:
		return "stats_remove"
	case messages.StatsSubscribe:
		return "stats_subscribe"
	case messages.StatsInitial:
		return "stats_initial"
	case messages.EventsSubscribe:
		return "events_subscribe"
	case messages.EndList:
		return "end_list"
	case messages.SettingList:
		return "setting_list"
	}
	return "unknown"
}
