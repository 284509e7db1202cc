package supervise

import "time"

// RetryAfter is the pause before something is tried again that can only fail because
// the machine is in trouble, such as a full disk.
const RetryAfter = time.Second

// PatientTries is how many times the database may fail before nobody waits for it any
// more: an actor that has failed works again at the second.
const PatientTries = 2

// A Trouble is something that fails and is tried again until it works. It is logged
// when it begins, when its cause changes, and when it is over.
type Trouble struct{ what, cause string }

// Note logs the outcome of the last try, where that is news.
func (t *Trouble) Note(c *Context, what string, err error) {
	if err == nil {
		t.Over(c)
		return
	}
	next := Trouble{what, err.Error()}
	if *t != next {
		c.Log().Error(what, "error", next.cause)
	}
	*t = next
}

// Over notes that it works.
func (t *Trouble) Over(c *Context) {
	if t.what != "" {
		c.Log().Info("It works again", "what", t.what)
	}
	*t = Trouble{}
}

// Cause returns the last error, or nothing where it works.
func (t *Trouble) Cause() string { return t.cause }
