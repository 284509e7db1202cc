package supervise

import "time"

// RetryAfter is the pause before a retry of something that fails only if the machine is
// in trouble, such as a full disk.
const RetryAfter = time.Second

// PatientTries is how often the database may fail before clients get an error: an actor
// that has failed works again at the second try.
const PatientTries = 2

// A Trouble is something that fails and is retried until it works. It is logged when it
// begins, when its cause changes, and when it is over.
type Trouble struct{ what, cause string }

// Note logs the outcome of the last try if it is new.
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

// Cause returns the last error; empty: it works.
func (t *Trouble) Cause() string { return t.cause }
