package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"

	"go.yaml.in/yaml/v3"

	"albatross/messages"
)

// A manifest says what there should be: what 'apply' reads and 'export' writes. docs/apply.md
// describes it.
type manifest struct {
	Owner      ownerValue       `yaml:"owner,omitempty"`
	Policies   []policyEntry    `yaml:"policies,omitempty"`
	Networks   []networkEntry   `yaml:"networks,omitempty"`
	Blocks     []blockEntry     `yaml:"blocks,omitempty"`
	Unikernels []unikernelEntry `yaml:"unikernels,omitempty"`
}

type policyEntry struct {
	Path       pathValue  `yaml:"path"`
	Unikernels int        `yaml:"unikernels"`
	Memory     sizeValue  `yaml:"memory"`
	CPUs       []int      `yaml:"cpus,flow,omitempty"`
	Block      *sizeValue `yaml:"block,omitempty"` // absent: no block devices
	Bridges    []string   `yaml:"bridges,flow,omitempty"`

	owner messages.Owner // of the file
}

// A networkEntry leaves to the daemon what it does not say.
type networkEntry struct {
	Name    nameValue    `yaml:"name"`
	Subnet  prefixValue  `yaml:"subnet,omitempty"`
	Gateway addressValue `yaml:"gateway,omitempty"`
	IPv6    prefixValue  `yaml:"ipv6,omitempty"`
	MTU     int          `yaml:"mtu,omitempty"`
	NoNAT   bool         `yaml:"no-nat,omitempty"`
	Backend string       `yaml:"backend,omitempty"`

	owner messages.Owner // of the file
}

type blockEntry struct {
	Name     nameValue `yaml:"name"`
	Size     sizeValue `yaml:"size"`
	Contents *source   `yaml:"contents,omitempty"` // of a new one

	owner messages.Owner // of the file
}

type unikernelEntry struct {
	Name      nameValue          `yaml:"name"`
	Image     source             `yaml:"image"`
	Memory    sizeValue          `yaml:"memory,omitempty"`
	CPUs      []int              `yaml:"cpus,flow,omitempty"`
	Arguments []string           `yaml:"arguments,omitempty"`
	NoAddName bool               `yaml:"no-add-name,omitempty"`
	Blocks    []blockValue       `yaml:"blocks,omitempty"`
	Networks  []attachmentValue  `yaml:"networks,omitempty"`
	Publish   []publicationValue `yaml:"publish,omitempty"`
	Health    *healthValue       `yaml:"health,omitempty"`
	HealthIn  durationValue      `yaml:"health-timeout,omitempty"`
	Restart   bool               `yaml:"restart-on-fail,omitempty"`
	ExitCodes []int              `yaml:"exit-codes,flow,omitempty"`
	Startup   *int               `yaml:"startup,omitempty"`

	owner messages.Owner // of the file
}

// readManifests reads several files as if they were one, in which everything has the owner of its
// file, and returns all owners.
func readManifests(paths []string, stdin io.Reader) (all manifest, owners []messages.Owner, err error) {
	for _, path := range paths {
		m, err := readManifest(path, stdin)
		if err != nil {
			return all, nil, err
		}
		owners = append(owners, messages.Owner(m.Owner))
		m.own()
		all.Policies = append(all.Policies, m.Policies...)
		all.Networks = append(all.Networks, m.Networks...)
		all.Blocks = append(all.Blocks, m.Blocks...)
		all.Unikernels = append(all.Unikernels, m.Unikernels...)
	}
	return all, owners, all.check()
}

// own gives everything in a file the owner of the file.
func (m *manifest) own() {
	owner := messages.Owner(m.Owner)
	for i := range m.Policies {
		m.Policies[i].owner = owner
	}
	for i := range m.Networks {
		m.Networks[i].owner = owner
	}
	for i := range m.Blocks {
		m.Blocks[i].owner = owner
	}
	for i := range m.Unikernels {
		m.Unikernels[i].owner = owner
	}
}

func readManifest(path string, stdin io.Reader) (m manifest, err error) {
	var data []byte
	if path == standardOutput { // the same word for standard input
		data, err = io.ReadAll(io.LimitReader(stdin, maxPEM))
	} else {
		data, err = readLimited(path)
	}
	if err != nil {
		return m, unreadable(path, err)
	}
	d := yaml.NewDecoder(bytes.NewReader(data))
	d.KnownFields(true)
	if err := d.Decode(&m); err != nil && err != io.EOF {
		return m, inputError(fmt.Sprintf("cannot use %s: %s", escape(path), manifestTrouble(err)))
	}
	if d.Decode(&manifest{}) != io.EOF {
		return m, inputError(fmt.Sprintf("cannot use %s: it has several documents: give a file for each", escape(path)))
	}
	m.resolve(filepath.Dir(path))
	return m, nil
}

// resolve makes files relative to the current directory.
func (m *manifest) resolve(dir string) {
	resolve := func(s *source) {
		if s.File != "" && !filepath.IsAbs(s.File) {
			s.File = filepath.Join(dir, s.File)
		}
	}
	for i := range m.Blocks {
		if m.Blocks[i].Contents != nil {
			resolve(m.Blocks[i].Contents)
		}
	}
	for i := range m.Unikernels {
		resolve(&m.Unikernels[i].Image)
	}
}

// unknownField matches what package yaml says about a field that is not there.
var unknownField = regexp.MustCompile(`^line (\d+): field (.*) not found in type .*$`)

// manifestTrouble says what is wrong with a manifest.
func manifestTrouble(err error) string {
	var several *yaml.TypeError
	if !errors.As(err, &several) {
		return escape(strings.TrimPrefix(err.Error(), "yaml: "))
	}
	texts := make([]string, len(several.Errors))
	for i, text := range several.Errors {
		texts[i] = escape(text)
		if match := unknownField.FindStringSubmatch(text); match != nil {
			texts[i] = fmt.Sprintf("line %s: there is no field '%s'", match[1], escape(match[2])) +
				didYouMean(match[2], "", fieldNames(reflect.TypeFor[manifest]()))
		}
	}
	return strings.Join(texts, "\n")
}

// fieldNames returns the names of all fields in a type, and in those of its fields.
func fieldNames(t reflect.Type) (names []string) {
	for t.Kind() == reflect.Slice || t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t.Kind() != reflect.Struct {
		return nil
	}
	for i := range t.NumField() {
		if tag, ok := t.Field(i).Tag.Lookup("yaml"); ok {
			name, _, _ := strings.Cut(tag, ",")
			names = append(append(names, name), fieldNames(t.Field(i).Type)...)
		}
	}
	return names
}

// check refuses what is incomplete, or there twice.
func (m *manifest) check() error {
	seen := map[string]bool{}
	once := func(what, name string) error {
		if seen[what+name] {
			return inputError(fmt.Sprintf("the %s %s is there twice", what, escape(name)))
		}
		seen[what+name] = true
		return nil
	}
	for _, p := range m.Policies {
		if err := once("policy", string(p.Path)); err != nil {
			return err
		}
		if p.Path == "" {
			return inputError("a policy has no path: that of the root is what the machine has")
		}
	}
	for _, n := range m.Networks {
		if err := errors.Join(once("network", shortName(n.Name.Name)), named("network", n.Name.Name)); err != nil {
			return err
		}
	}
	for _, b := range m.Blocks {
		err := errors.Join(once("block device", shortName(b.Name.Name)), named("block device", b.Name.Name), sized(b))
		if err != nil {
			return err
		}
	}
	for _, u := range m.Unikernels {
		name := shortName(u.Name.Name)
		err := errors.Join(once("unikernel", name), named("unikernel", u.Name.Name), u.Image.check("the image of "+name), distinctDevices(u))
		if err != nil {
			return err
		}
	}
	return nil
}

// named refuses a thing without a name, or with that of a path.
func named(what string, n messages.Name) error {
	if n.IsPath() {
		return inputError(fmt.Sprintf("a %s has no name, or that of a path: %s", what, n))
	}
	return nil
}

func sized(b blockEntry) error {
	if b.Size == 0 {
		return inputError(fmt.Sprintf("the block device %s has no size", shortName(b.Name.Name)))
	}
	if b.Contents == nil {
		return nil
	}
	what := "the contents of " + shortName(b.Name.Name)
	if b.Contents.OCI != "" {
		return inputError(what + " cannot be in a registry: give a file or a url")
	}
	return b.Contents.check(what)
}

func distinctDevices(u unikernelEntry) error {
	args := u.arguments()
	return distinct(args.Blocks, args.Networks)
}

// places returns in which fields a source says where its contents are.
func (s source) places() (fields []string) {
	for _, f := range []struct{ name, value string }{{"a file", s.File}, {"a url", string(s.URL)}, {"oci", string(s.OCI)}} {
		if f.value != "" {
			fields = append(fields, f.name)
		}
	}
	return fields
}

// text returns a manifest as it is written.
func (m *manifest) text() (string, error) {
	var text bytes.Buffer
	e := yaml.NewEncoder(&text)
	e.SetIndent(2)
	if err := errors.Join(e.Encode(m), e.Close()); err != nil {
		return "", err
	}
	return strings.TrimSuffix(text.String(), "\n"), nil
}
