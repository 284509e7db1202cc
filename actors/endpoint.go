package actors

import "albatross/messages"

// An Endpoint is one of the sockets of the daemon; each has its own commands.
type Endpoint string

// The sockets, by the names of their files.
const (
	VMMD    Endpoint = "vmmd"
	Console Endpoint = "console"
	Stats   Endpoint = "stat"
	Events  Endpoint = "events" // other than native
)

// refuses tells what a client gets to read that has used the wrong socket, or
// that says what only a daemon says or nobody understands.
func (e Endpoint) refuses(payload messages.Payload) string {
	at := Endpoint("")
	switch p := payload.(type) {
	case messages.BadRequest:
		return p.Why
	case messages.EndList, messages.SettingList, messages.EventsSubscribe, messages.BlockReserve:
		at = Events
	case messages.ConsoleSubscribe, messages.ConsoleAdd, messages.ConsoleListInactive:
		at = Console
	case messages.StatsSubscribe, messages.StatsAdd, messages.StatsRemove:
		at = Stats
	case messages.StatsInitial:
		if e == Stats {
			return "unexpected message initial"
		}
		at = VMMD
	case messages.UnikernelCreate, messages.UnikernelDestroy, messages.UnikernelGet,
		messages.UnikernelInfo, messages.UnikernelRestart,
		messages.PolicyInfo, messages.PolicyAdd, messages.PolicyRemove,
		messages.BlockList, messages.BlockAdd, messages.BlockOldAdd, messages.BlockRemove,
		messages.BlockSet, messages.BlockOldSet, messages.BlockDump, messages.BlockOldDump:
		at = VMMD
	}
	switch {
	case at == e:
		return ""
	case e == Stats:
		return "unexpected command"
	}
	return "unknown command"
}
