package main

import (
	"github.com/spf13/cobra"
)

func imageCommand(out *printer) *cobra.Command {
	c := &cobra.Command{
		Use:   "image",
		Short: "Keep images in a registry, and get them from there",
		Long: `Keep images in a registry, and get them from there. A REFERENCE is
oci://REGISTRY/REPOSITORY[:TAG|@DIGEST]; without either the tag is latest. 'create', 'update' and
'apply' take one in place of a file. Who asks is what 'docker login' or 'podman login' has kept for
the registry.`,
		Args: knownCommand,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(imagePushCommand(out), imagePullCommand(out), imageListCommand(out), imageInspectCommand(out), imageRemoveCommand(out))
	return c
}
