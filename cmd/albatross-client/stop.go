package main

import (
	"github.com/spf13/cobra"

	"albatross/messages"
)

func stopCommand(d *daemon, complete completer) *cobra.Command {
	return complete.aboutUnikernels(&cobra.Command{
		Use:   "stop",
		Short: "Stop unikernels, and keep them on record",
		Long: `Stop unikernels. They keep their images, arguments, devices, addresses and console, and stay
stopped, also after a restart of the daemon or the machine, until 'start' starts them again or
'destroy' forgets them. Policies and block devices count them as if they ran. One that waits
to be started again waits no longer. Native clients do not see what is stopped.`,
		Example: "  albatross-client stop web:site && albatross-client start web:site",
	}, func(c *cobra.Command, name messages.Name) error {
		return d.onControl(c.Context(), name.String(), messages.StopRequest{}, "stopped unikernel")
	})
}
