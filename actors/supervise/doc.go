// Package supervise is the thin layer between protoactor-go and our actors: it turns the
// surprises of protoactor into rules that an actor can rely on.
//
// It owns the actor system, the mailboxes, the goroutines and timers that actors start, and
// the strategies for actors that fail. Our actors implement Actor and never see protoactor's
// own lifecycle.
//
// What an Actor can rely on:
//
//   - Every incarnation is a fresh value. It handles Started first, then messages one at a
//     time, then Stopping, and nothing after that.
//   - A panic ends the incarnation. The sender of the request that failed gets Crashed. After
//     a pause a new incarnation goes on with the queue.
//   - The result of a goroutine (Context.Go) or a timer (Context.After) reaches its own
//     incarnation or is discarded. A new incarnation that must not meet the goroutines of
//     the former one waits for them (Context.AfterFormer).
//   - A request to an actor that has ended is answered by Undeliverable.
//   - A mailbox is bounded. A message that does not fit is logged as our own bug, since every
//     protocol between our actors has a bound of its own. If it is a request, it is answered
//     by Undeliverable.
//
// Tests verify by Faults that an actor copes with all this: middleware of protoactor that
// injects faults. Without Faults there is no middleware.
package supervise
