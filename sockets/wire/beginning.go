package wire

// BeginsFailure reports whether a message with this beginning is a failure. Decode needs
// all of it.
func BeginsFailure(message []byte) bool {
	const failure = 0xa2 // after the header
	_, inside := contentsOf(message)
	length, header := contentsOf(inside)
	return length < len(header) && header[length] == failure
}

// contentsOf returns what follows the tag and the length of an element of DER.
func contentsOf(b []byte) (length int, contents []byte) {
	if len(b) < 2 {
		return 0, nil
	}
	if b[1] < 0x80 {
		return int(b[1]), b[2:]
	}
	n := 2 + int(b[1]&0x7f)
	if n > len(b) || n > 6 {
		return 0, nil
	}
	for _, octet := range b[2:n] {
		length = length<<8 | int(octet)
	}
	return length, b[n:]
}
