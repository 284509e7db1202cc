package messages

// Option is a value that may be absent: what the wire protocol calls OPTIONAL.
// A pointer would do too, but pointers must not travel between actors.
type Option[T any] struct {
	// Value is the zero value where OK is false, so that two absent options
	// compare equal.
	Value T
	OK    bool
}

// Some is an option that is present.
func Some[T any](v T) Option[T] { return Option[T]{Value: v, OK: true} }

// Or is the value, or fallback where there is none.
func (o Option[T]) Or(fallback T) T {
	if o.OK {
		return o.Value
	}
	return fallback
}
