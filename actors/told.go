package actors

import (
	"albatross/actors/supervise"
	"albatross/messages"
)

// told is what a client is told of an error. Where that is not all, the log has the
// rest.
func told(c *supervise.Context, err error) messages.Public {
	text := messages.PublicError(err)
	if err != nil && string(text) != err.Error() {
		c.Log().Warn("An error that clients are not told in full", "error", err)
	}
	return text
}

func failure(text messages.Public) messages.Failure     { return messages.Failure{Text: text} }
func success(text messages.Public) messages.SuccessText { return messages.SuccessText{Text: text} }
