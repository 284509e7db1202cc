package main

import (
	"bytes"
	"context"
	"errors"
	"strings"

	"albatross/cmd/albatross-kubelet/pods"
	"albatross/cmd/albatross-kubelet/provider"
	"albatross/runtime/image"
	"albatross/sockets/registry"
)

// fetchFrom returns what gets images from registries. Of an image for several targets, the first of an
// order counts.
func fetchFrom(client *registry.Client, order []string) provider.Fetch {
	return func(ctx context.Context, text string) (i provider.Image, err error) {
		reference, err := registry.ParseReference(registry.Scheme + strings.TrimPrefix(text, registry.Scheme))
		if err != nil {
			return i, err
		}
		artifact, err := client.Resolve(ctx, reference)
		if err != nil {
			return i, err
		}
		target, err := artifact.Choose(order...)
		if err != nil {
			return i, err
		}
		kept, err := client.FetchFile(ctx, artifact, target)
		if err != nil {
			return i, err
		}
		read, err := image.Read(bytes.NewReader(kept.Contents), int64(len(kept.Contents)))
		if err != nil {
			return i, errors.Join(err, kept.Close())
		}
		i = provider.Image{Contents: kept.Contents, Close: kept.Close, Defaults: pods.Defaults{Memory: target.Memory, Arguments: target.Arguments}}
		for _, d := range read.Devices {
			if d.Kind == image.Net {
				i.Networks = append(i.Networks, d.Name)
			}
		}
		return i, nil
	}
}
