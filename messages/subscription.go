package messages

// Between whoever follows something and whom it follows: a session, and a console, the
// events actor, the collector of statistics or a block device.
type (
	// More is the credit of a subscriber: it wants one more message. Whom it follows
	// sends one per credit, so that a subscriber that is slow has no queue.
	More struct{}
	// Detached says that a subscriber gets no more messages, and why, if the client
	// cannot know.
	Detached struct{ Reason Public }
)
