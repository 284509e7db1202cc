package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/hex"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"albatross/messages"
)

func exportCommand(out *printer, inv inventory, complete completer) *cobra.Command {
	var command bool
	var images string
	var owner messages.Owner
	c := &cobra.Command{
		Use:   "export [NAME|PATH:]",
		Short: "Write what there is as a file for 'apply', or as commands",
		Long: `Write the policies, networks, block devices and unikernels that there are as YAML, which 'apply'
reads: all, only what has a name, or with ':' at its end all at and below a path. Images are named
by their hash, or by their digest in the registry that they are from; with --images they are
written to a directory, and named by their files. The
contents of block devices are not written: 'dump-block' does that.

If all of it has the same owner, that is in it, too; with --owner, only what belongs to that one is
written.

The arguments of unikernels are in it, which may be secrets.`,
		Example:           "  albatross-client export web: --images=images >web.yaml\n  albatross-client export web:site --command",
		Args:              atMost("NAME"),
		ValidArgsFunction: complete.names,
		RunE: func(c *cobra.Command, args []string) error {
			var name messages.Name
			for _, arg := range args {
				var err error
				if name, err = parseArgument("NAME", messages.ParseName, arg); err != nil {
					return err
				}
			}
			return exportManifest(c.Context(), out, inv, name, owner, images, command)
		},
	}
	c.Flags().BoolVar(&command, "command", false, "write the commands that would create it instead")
	c.Flags().Var(one("OWNER", messages.ParseOwner, &owner), "owner", "write only what belongs to this owner")
	c.Flags().Var(one("DIRECTORY", parseFile, &images), "images", "write the images to this directory")
	return c
}

func exportManifest(ctx context.Context, out *printer, inv inventory, name messages.Name, owner messages.Owner, images string, command bool) error {
	ctx, stop := interruptible(ctx)
	defer stop()
	have, err := inv.present(ctx)
	if err != nil {
		return err
	}
	have = have.below(name).belonging(owner)
	m := have.manifest(func(u messages.NamedInfo) string {
		if _, inRegistry := originOf(have.arguments[u.Name]); inRegistry && images == "" {
			return ""
		}
		return imageFile(images, u, command)
	})
	inv.warnNothing(name, "unikernel", len(m.Unikernels)+len(m.Policies)+len(m.Networks)+len(m.Blocks) == 0)
	if images != "" {
		if err := saveImages(ctx, inv, have.unikernels, images); err != nil {
			return err
		}
	}
	if m.Owner == "" && have.owned() {
		out.message(warning, "what is written has several owners, or some of it has none: no owner is in it; --owner writes what belongs to one")
	}
	if command {
		return out.print(strings.Join(m.commands(), "\n"))
	}
	text, err := m.text()
	if err != nil {
		return err
	}
	return out.print(text)
}

// imageFile returns the file of an image. Without a directory for it there is none, but commands
// need one.
func imageFile(dir string, u messages.NamedInfo, command bool) string {
	switch {
	case dir != "":
		return filepath.Join(dir, hex.EncodeToString(u.Info.Digest)+".img")
	case command:
		return strings.ReplaceAll(shortName(u.Name), ":", "-") + ".img"
	}
	return ""
}

// saveImages writes images to a directory. Each has a file of its own name, and is written once.
func saveImages(ctx context.Context, inv inventory, unikernels []messages.NamedInfo, dir string) error {
	for _, u := range unikernels {
		image, err := inv.image(ctx, u)
		if err != nil {
			return err
		}
		if err := replaceBy(imageFile(dir, u, false), bytes.NewReader(image)); err != nil {
			return fmt.Errorf("cannot save the image: %w", err)
		}
	}
	return nil
}

// commands returns the commands that create what a manifest says.
func (m *manifest) commands() (lines []string) {
	for _, p := range m.Policies {
		lines = append(lines, p.command())
	}
	for _, n := range m.Networks {
		lines = append(lines, n.command())
	}
	for _, b := range m.Blocks {
		lines = append(lines, shellLine("create-block", shortName(b.Name.Name), strconv.Itoa(int(b.Size))))
	}
	for _, u := range m.Unikernels {
		lines = append(lines, u.command())
	}
	return lines
}

func (p policyEntry) command() string {
	words := []string{"add-policy", string(p.Path), strconv.Itoa(p.Unikernels), fmt.Sprintf("--mem=%d", p.Memory)}
	words = appendOptions(words, "cpu", p.CPUs, strconv.Itoa)
	if p.Block != nil {
		words = append(words, fmt.Sprintf("--block=%d", *p.Block))
	}
	words = appendOptions(words, "bridge", p.Bridges, func(s string) string { return s })
	return shellLine(words...)
}

func (n networkEntry) command() string {
	words := []string{"network", "create", shortName(n.Name.Name)}
	for _, o := range []struct{ name, value string }{
		{"subnet", string(n.Subnet)}, {"gateway", string(n.Gateway)}, {"ipv6", string(n.IPv6)}, {"backend", n.Backend},
	} {
		if o.value != "" {
			words = append(words, "--"+o.name+"="+o.value)
		}
	}
	if n.MTU != 0 {
		words = append(words, fmt.Sprintf("--mtu=%d", n.MTU))
	}
	if n.NoNAT {
		words = append(words, "--no-nat")
	}
	return shellLine(words...)
}

func (u unikernelEntry) command() string {
	args := u.arguments()
	words := []string{"create", shortName(u.Name.Name), cmp.Or(string(u.Image.OCI), u.Image.File), fmt.Sprintf("--mem=%d", args.Memory)}
	words = appendOptions(words, "cpu", args.CPUIDs, strconv.Itoa)
	words = appendOptions(words, "arg", args.Argv.Value, func(s string) string { return s })
	words = appendOptions(words, "block", args.Blocks, blockOption)
	words = appendOptions(words, "net", args.Networks, networkOption)
	words = appendOptions(words, "publish", args.Publish, messages.Publication.String)
	if check := args.Health; check.OK {
		words = append(words, "--health="+check.Value.String())
		if t := check.Value.Time(); check.Value.Kind != messages.HealthRuns && t != messages.DefaultHealthTime {
			words = append(words, fmt.Sprintf("--health-timeout=%v", t))
		}
	}
	if args.Fail.Restart {
		words = append(words, "--restart-on-fail")
	}
	words = appendOptions(words, "exit-code", args.Fail.Codes, strconv.Itoa)
	if args.Startup.OK {
		words = append(words, fmt.Sprintf("--startup=%d", args.Startup.Value))
	}
	if !args.AddName {
		words = append(words, "--no-add-name")
	}
	return shellLine(words...)
}

// appendOptions appends an option for each value.
func appendOptions[T any](words []string, name string, values []T, text func(T) string) []string {
	for _, v := range values {
		words = append(words, "--"+name+"="+text(v))
	}
	return words
}

// shellLine returns a command of this program, quoted for a shell.
func shellLine(words ...string) string {
	return "albatross-client " + joined(words, " ", quote)
}

// quote quotes a word for a shell where that is needed.
func quote(word string) string {
	plain := strings.Trim(word, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_=+.,:/@%")
	if word != "" && plain == "" {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}
