// Package supervise is the thin layer between protoactor-go and our actors: it
// turns what is surprising in protoactor into rules that an actor can rely on.
//
// It owns the actor system, the mailboxes, the goroutines and timers that
// actors start, and the strategies that say what happens when an actor fails.
// Our actors implement Actor and never see protoactor's own lifecycle.
//
// What an Actor can rely on:
//
//   - Every incarnation is a fresh value. It sees Started first, then messages
//     one at a time, then Stopping, and nothing after that.
//   - A panic costs the incarnation. Whoever asked for the message that failed
//     gets Crashed. After a pause a new incarnation goes on with the queue.
//   - What a goroutine of an incarnation (Context.Go) or one of its timers
//     (Context.After) delivers is seen by that incarnation or by nobody; a
//     result that nobody sees is discarded.
//   - A request to an actor that is gone is answered by Undeliverable.
//   - A mailbox is bounded. What it drops is logged as our own bug, because
//     every protocol between our actors has a bound of its own. A request that is
//     dropped is answered by Undeliverable.
//
// That an actor bears all this is tested by Faults: middleware of protoactor that
// has things go wrong on purpose. Where there are none there is no middleware.
package supervise
