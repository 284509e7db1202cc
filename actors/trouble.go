package actors

import "albatross/actors/supervise"

// A trouble is something that does not work and is tried again until it does. It is
// logged when it begins, when its cause changes, and when it is over.
type trouble struct{ what, cause string }

// note tells how the last try went.
func (t *trouble) note(c *supervise.Context, what string, err error) {
	if err == nil {
		t.over(c)
		return
	}
	next := trouble{what, err.Error()}
	if *t != next {
		c.Log().Error(what, "error", next.cause)
	}
	*t = next
}

func (t *trouble) over(c *supervise.Context) {
	if t.what != "" {
		c.Log().Info("It works again", "what", t.what)
	}
	*t = trouble{}
}
