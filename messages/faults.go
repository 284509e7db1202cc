package messages

// MayComeAgain returns values of the messages that an incarnation of an actor sends whether or not
// the one before it has sent them. Their receivers handle the second one like none.
func MayComeAgain() []any {
	return []any{
		StoreLoad{}, UnikernelRestarted{}, UnikernelRunning{}, UnikernelWaiting{}, UnikernelGone{}, UnikernelStopped{},
		ConsoleRestarted{}, ConsoleIdle{}, StatsRestarted{}, EventsStored{}, UnikernelStop{},
	}
}

// MayBeDropped returns values of the requests whose sender gets them back if the mailbox of the
// receiver is full, and copes with that.
func MayBeDropped() []any {
	return []any{StoreLoad{}, StoreWrite{}, ConsoleOpen{}, ConsoleClose{}}
}
