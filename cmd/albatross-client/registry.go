package main

import (
	"context"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"albatross/sockets/registry"
)

// Arguments that name what is in a registry.
const (
	referenceArgument = "REFERENCE"
	placeArgument     = "REPOSITORY|REGISTRY"
)

// registryOptions are the options of commands that ask a registry.
type registryOptions struct{ insecure bool }

func (o *registryOptions) register(flags *pflag.FlagSet) {
	flags.BoolVar(&o.insecure, "insecure", false,
		"ask a registry also by http, or where nobody vouches for its certificate; one on this machine may always speak http")
}

// registryClient returns a client for registries. The caller closes it.
func registryClient(out *printer, o registryOptions) *registry.Client {
	return registry.New(registry.Options{Insecure: o.insecure, Progress: out.progress})
}

// withReference makes c a command about a reference, which is its only argument.
func withReference(out *printer, c *cobra.Command, do func(context.Context, *registry.Client, registry.Reference) error) *cobra.Command {
	return withRegistry(out, c, referenceArgument, registry.ParseReference, do)
}

func withRegistry(out *printer, c *cobra.Command, argument string, parse func(string) (registry.Reference, error), do func(context.Context, *registry.Client, registry.Reference) error) *cobra.Command {
	var o registryOptions
	c.Use += " " + argument
	c.Args = positional(argument)
	c.ValidArgsFunction = cobra.NoFileCompletions
	c.RunE = func(c *cobra.Command, args []string) error {
		r, err := parseArgument(argument, parse, args[0])
		if err != nil {
			return err
		}
		ctx, stop := interruptible(c.Context())
		defer stop()
		client := registryClient(out, o)
		defer client.Close()
		return do(ctx, client, r)
	}
	o.register(c.Flags())
	return c
}

// sayReference prints what was done with an image in a registry.
func sayReference(out *printer, done string, r registry.Reference) error {
	if out.format == jsonFormat {
		return out.print(asciiJSON(movedObject{done, r.String(), r.Digest}))
	}
	return out.print(done + " " + r.String())
}

// A movedObject says what was done with an image in a registry.
type movedObject struct {
	Result    string `json:"result"`
	Reference string `json:"reference"`
	Digest    string `json:"digest,omitempty"`
}
