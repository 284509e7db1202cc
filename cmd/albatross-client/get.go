package main

import (
	"bytes"
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"albatross/messages"
)

func (a *app) getCommand() *cobra.Command {
	var level messages.Option[int]
	to := output{}
	c := a.aboutUnikernel(&cobra.Command{
		Use:     "get",
		Short:   "Write the image of a unikernel to a file in the temporary directory, or to that of -o",
		Example: "  albatross-client get web:site -o site.hvt",
	}, func(c *cobra.Command, name messages.Name) error {
		return a.get(c.Context(), name, messages.UnikernelGet{Form: 3, Level: a.compression(level)}, &to)
	})
	to.register(c.Flags(), a.stdout)
	c.Flags().Var(maybe("LEVEL", parseLevel, &level), "compression-level", "have the image compressed, 0 (not) to 9 (most)"+levelDefault)
	return c
}

func (a *app) get(ctx context.Context, name messages.Name, command messages.UnikernelGet, to *output) error {
	ctx, stop := interruptible(ctx)
	defer stop()
	name, answer, err := a.answer(ctx, name, command)
	if err != nil {
		return err
	}
	image, ok := answer.(messages.SuccessImage)
	if !ok {
		return fmt.Errorf("%w (%T)", errOddAnswer, answer)
	}
	if err := a.tell(to, func() error { return a.show(name, image) }); err != nil {
		return err
	}
	path, err := a.receive(name, to, image.Compressed, -1, bytes.NewReader(image.Image))
	if err != nil {
		return fmt.Errorf("cannot save the image: %w", err)
	}
	return a.tell(to, func() error { return a.say(name, "dumped image to "+path) })
}
