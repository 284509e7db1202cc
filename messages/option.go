package messages

// Option is an optional value, as OPTIONAL in the wire protocol. A pointer would do too,
// but actors must not send each other pointers.
type Option[T any] struct {
	// Value is the zero value if OK is false, so that absent options are equal.
	Value T
	OK    bool
}

// Some returns an option that is present.
func Some[T any](v T) Option[T] { return Option[T]{Value: v, OK: true} }

// Or returns the value, or fallback if it is absent.
func (o Option[T]) Or(fallback T) T {
	if o.OK {
		return o.Value
	}
	return fallback
}

// IsZero reports whether encoders leave the option out.
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
