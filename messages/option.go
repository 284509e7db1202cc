package messages

// Option is a value that may be absent: what the wire protocol calls OPTIONAL.
// A pointer would do too, but pointers must not travel between actors.
type Option[T any] struct {
	// Value is the zero value where OK is false, so that two absent options
	// compare equal.
	Value T
	OK    bool
}

// Some returns an option that is present.
func Some[T any](v T) Option[T] { return Option[T]{Value: v, OK: true} }

// Or returns the value, or fallback where there is none.
func (o Option[T]) Or(fallback T) T {
	if o.OK {
		return o.Value
	}
	return fallback
}

// IsZero tells encoders to leave the option out.
func (o Option[T]) IsZero() bool { return !o.OK }

// MarshalCBOR writes the value; an absent one is null.
func (o Option[T]) MarshalCBOR() ([]byte, error) {
	if !o.OK {
		return encMode.Marshal(nil)
	}
	return encMode.Marshal(o.Value)
}

// UnmarshalCBOR reads what MarshalCBOR wrote.
func (o *Option[T]) UnmarshalCBOR(data []byte) error {
	var v *T
	if err := decMode.Unmarshal(data, &v); err != nil {
		return err
	}
	*o = Option[T]{}
	if v != nil {
		*o = Some(*v)
	}
	return nil
}
