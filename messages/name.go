package messages

import (
	"errors"
	"fmt"
	"strings"
)

// MaxLabel is the longest label, in bytes.
const MaxLabel = 63

// The texts are those of native clients.
var (
	errLabel     = errors.New("invalid label (only [a-zA-Z0-9-.] allowed, 1 to 63 chars)")
	errName      = errors.New("invalid name")
	errEmptyName = errors.New("empty name")
)

// A Label names one step of a path, or one unikernel, block device or console at a path:
// 1 to 63 bytes of a-z, 0-9, '-' and '.', not starting with '-'. "." and ".." are labels,
// so a label is never a file name by itself. The empty label means "none".
type Label string

// ParseLabel checks s and folds it to lower case.
func ParseLabel(s string) (Label, error) {
	if len(s) == 0 || len(s) > MaxLabel || s[0] == '-' {
		return "", errLabel
	}
	upper := false
	for i := range len(s) {
		c := s[i]
		switch {
		case 'a' <= c && c <= 'z', '0' <= c && c <= '9', c == '-', c == '.':
		case 'A' <= c && c <= 'Z':
			upper = true
		default:
			return "", errLabel
		}
	}
	if upper {
		s = strings.ToLower(s)
	}
	return Label(s), nil
}

// A Path is a sequence of labels, outermost first, stored as text joined by ':'. The zero
// value is the root.
type Path string

// Root is the path above all others.
const Root Path = ""

// MaxFileName is the longest name that a file can have, in bytes: consoles and block
// devices are files.
const MaxFileName = 255

// Tenant returns the label directly below the root, which takes turns with others. It is
// empty for the root.
func (p Path) Tenant() string {
	tenant, _, _ := strings.Cut(string(p), ":")
	return tenant
}

// ParsePath reads labels joined by ':', with or without a leading ':'. The
// empty text is the root.
func ParsePath(s string) (Path, error) {
	if s == "" {
		return Root, nil
	}
	p, err := parseLabels(strings.TrimPrefix(s, ":"))
	if err != nil {
		return Root, fmt.Errorf("invalid path: %w", err)
	}
	return p, nil
}

// parseLabels reads one or more labels joined by ':'.
func parseLabels(s string) (Path, error) {
	folded := false
	for part := range strings.SplitSeq(s, ":") {
		l, err := ParseLabel(part)
		if err != nil {
			return Root, err
		}
		folded = folded || string(l) != part
	}
	if folded {
		s = strings.ToLower(s)
	}
	return Path(s), nil
}

// String returns the labels joined by ':', and nothing for the root.
func (p Path) String() string { return string(p) }

// Labels returns the labels from the outermost on.
func (p Path) Labels() []Label {
	if p == Root {
		return nil
	}
	parts := strings.Split(string(p), ":")
	labels := make([]Label, len(parts))
	for i, part := range parts {
		labels[i] = Label(part)
	}
	return labels
}

// Append returns the path one step further down.
func (p Path) Append(l Label) Path {
	if p == Root {
		return Path(l)
	}
	return p + ":" + Path(l)
}

// InFull returns a name that is relative to the path in full: the inverse of Relative.
func (p Path) InFull(relative Name) Name {
	if p != Root && relative.Path != Root {
		p += ":"
	}
	return Name{Path: p + relative.Path, Label: relative.Label}
}

// Parent returns the path one step further up; the root is its own parent.
func (p Path) Parent() Path {
	i := strings.LastIndexByte(string(p), ':')
	if i < 0 {
		return Root
	}
	return p[:i]
}

// Contains reports whether q is p or below it.
func (p Path) Contains(q Path) bool {
	_, ok := p.relative(q)
	return ok
}

// relative returns q relative to p, if q is p or below it.
func (p Path) relative(q Path) (Path, bool) {
	switch {
	case p == Root:
		return q, true
	case p == q:
		return Root, true
	case len(q) > len(p) && q[len(p)] == ':' && q[:len(p)] == p:
		return q[len(p)+1:], true
	}
	return Root, false
}

// A Name is a path, or something at a path. It is comparable and its zero
// value is the root. "a:b" (the unikernel b at a) and "a:b:" (the path) are
// two different names.
type Name struct {
	Path  Path
	Label Label // "" for a path
}

// ParseName parses the text form of a name: "hello", ":hello", "a:b:hello", and with a
// ':' at the end the name of a path: ":", "a:b:".
func ParseName(s string) (Name, error) {
	switch {
	case s == "":
		return Name{}, errEmptyName
	case s == ":":
		return Name{}, nil
	case strings.HasSuffix(s, ":"):
		p, err := parseLabels(strings.TrimPrefix(s[:len(s)-1], ":"))
		if err != nil {
			return Name{}, fmt.Errorf("invalid path: %w", err)
		}
		return Name{Path: p}, nil
	}
	all, err := parseLabels(strings.TrimPrefix(s, ":"))
	if err != nil {
		return Name{}, errName
	}
	i := strings.LastIndexByte(string(all), ':')
	return Name{Path: all.Parent(), Label: Label(all[i+1:])}, nil
}

// String returns the text form that ParseName reads: the path, ':' and the label.
func (n Name) String() string { return string(n.Path) + ":" + string(n.Label) }

// IsPath reports whether the name is that of a path.
func (n Name) IsPath() bool { return n.Label == "" }

// Covers reports whether m belongs to the answer of a query for n: everything at and
// below a path, otherwise only the same name.
func (n Name) Covers(m Name) bool {
	if n.IsPath() {
		return n.Path.Contains(m.Path)
	}
	return n == m
}

// Relative returns m for a client that asked for n: without n's path if n is a path, else
// in full. n must cover m.
func (n Name) Relative(m Name) Name {
	if !n.IsPath() {
		return m
	}
	rel, _ := n.Path.relative(m.Path)
	return Name{Path: rel, Label: m.Label}
}

// Compare orders names as listings show them: a node before what is below it,
// labels descending.
func (n Name) Compare(m Name) int {
	a, b := steps{n}, steps{m}
	for {
		x, more := a.next()
		y, also := b.next()
		switch {
		case !more && !also:
			// "a:b:" and "a:b" are the same node; the path comes first.
			return strings.Compare(string(n.Label), string(m.Label))
		case !more:
			return -1
		case !also:
			return 1
		case x != y:
			return strings.Compare(string(y), string(x))
		}
	}
}

// steps are the labels of a name that are not yet passed, its own included.
type steps struct{ left Name }

// next passes one. Lists are sorted by this: it allocates nothing.
func (s *steps) next() (label Label, more bool) {
	if s.left.Path == Root {
		label, s.left.Label = s.left.Label, ""
		return label, label != ""
	}
	first, rest, _ := strings.Cut(string(s.left.Path), ":")
	s.left.Path = Path(rest)
	return Label(first), true
}

// MarshalCBOR writes the text form.
func (n Name) MarshalCBOR() ([]byte, error) { return encMode.Marshal(n.String()) }

// UnmarshalCBOR reads what MarshalCBOR wrote.
func (n *Name) UnmarshalCBOR(data []byte) (err error) {
	var text string
	if err = decMode.Unmarshal(data, &text); err != nil {
		return err
	}
	*n, err = ParseName(text)
	return err
}
