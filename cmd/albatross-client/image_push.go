package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"albatross/runtime/image"
	"albatross/sockets/registry"
)

func imagePushCommand(out *printer) *cobra.Command {
	var (
		o           registryOptions
		memory      int
		argv        []string
		annotations []annotation
	)
	c := &cobra.Command{
		Use:   "push " + referenceArgument + " " + fileArgument + "...",
		Short: "Write an image to a registry, with a file for each target",
		Long: `Write an image to a registry, with a file for each target that it was built for (spt and hvt), and
print its digest. The same files, options and annotations yield the same digest.`,
		Example: `  albatross-client image push oci://localhost:5000/web:1 web.spt web.hvt --mem=64
  albatross-client image push oci://localhost:5000/web:1 web.spt --annotation=org.opencontainers.image.authors=team`,
		Args: atLeast(referenceArgument, fileArgument),
		RunE: func(c *cobra.Command, args []string) error {
			r, err := parseArgument(referenceArgument, registry.ParseReference, args[0])
			if err != nil {
				return err
			}
			images, err := pushable(args[1:], memory, argv)
			if err != nil {
				return err
			}
			ctx, stop := interruptible(c.Context())
			defer stop()
			client := registryClient(out, o)
			defer client.Close()
			return push(ctx, out, client, r, images, annotations)
		},
	}
	o.register(c.Flags())
	c.Flags().VarP(&option[int]{kind: "SIZE", parse: megabytes(parsePositive), set: func(n int) error { memory = n; return nil }}, "mem", "m",
		"memory in MB that it gets where nothing else is said, or with a unit: 64M, 1G")
	c.Flags().Var(many("ARG", parseText, &argv), "arg", "an argument that it is started with where none is given; repeat for several")
	c.Flags().Var(many("KEY=VALUE", parseAnnotation, &annotations), "annotation", "a note about it, such as who has made it; repeat for several")
	return c
}

// An annotation is a note about an image in a registry.
type annotation struct{ key, value string }

func parseAnnotation(s string) (annotation, error) {
	key, value, ok := strings.Cut(s, "=")
	if !ok || key == "" {
		return annotation{}, fmt.Errorf("invalid value '%s', expected KEY=VALUE", escape(s))
	}
	return annotation{key, value}, nil
}

// pushable reads the files of an image, one for each target.
func pushable(paths []string, memory int, argv []string) (images []registry.Image, err error) {
	seen := map[string]string{}
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			return nil, unreadable(path, err)
		}
		i, err := readUnikernel(path, data)
		if err != nil {
			return nil, err
		}
		target := i.Target.String()
		key := target + " on " + string(i.Architecture)
		if before, twice := seen[key]; twice {
			return nil, inputError(fmt.Sprintf("%s and %s are both for %s: give one file for each target", escape(before), escape(path), key))
		}
		seen[key] = path
		images = append(images, registry.Image{
			Target: target, Architecture: string(i.Architecture), File: filepath.Base(path), Contents: data, Devices: devicesOf(i), Memory: memory, Arguments: argv,
		})
	}
	return images, nil
}

func devicesOf(i *image.Image) []registry.Device {
	return mapped(i.Devices, func(d image.Device) registry.Device { return registry.Device{Name: d.Name, Kind: d.Kind.String()} })
}

func push(ctx context.Context, out *printer, client *registry.Client, r registry.Reference, images []registry.Image, annotations []annotation) error {
	notes := map[string]string{}
	for _, n := range annotations {
		notes[n.key] = n.value
	}
	pushed, err := client.Push(ctx, r, images, notes)
	if err != nil {
		return err
	}
	return sayReference(out, "pushed", pushed)
}
