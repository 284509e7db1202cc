package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"albatross/messages"
)

func (a *app) getCommand() *cobra.Command {
	var level int
	c := &cobra.Command{
		Use:               "get " + nameArgument,
		Short:             "Write the image of a unikernel to a file in the temporary directory",
		Args:              positional(nameArgument),
		ValidArgsFunction: a.completeNames,
		RunE: func(c *cobra.Command, args []string) error {
			name, err := parseNameArgument(args[0])
			if err != nil {
				return err
			}
			answer, err := a.answer(c.Context(), name, messages.UnikernelGet{Form: 3, Level: level})
			if err != nil {
				return err
			}
			image, ok := answer.(messages.SuccessImage)
			if !ok {
				return fmt.Errorf("%w (%T)", errOddAnswer, answer)
			}
			if err := a.show(name, image); err != nil {
				return err
			}
			return a.save(name, image.Image)
		},
	}
	c.Flags().Var(one("LEVEL", parseLevel, &level), "compression-level", "have the image compressed, 0 (not) to 9 (most)")
	return c
}

// save writes an image to a file of the unikernel's name and the time.
func (a *app) save(name messages.Name, image []byte) error {
	f, err := createNew(filepath.Join(os.TempDir(), name.String()+"."+timeText(time.Now())))
	if err != nil {
		return fmt.Errorf("cannot save the image: %w", err)
	}
	_, err = f.Write(image)
	if err = errors.Join(err, f.Close()); err != nil {
		os.Remove(f.Name())
		return fmt.Errorf("cannot save the image: %w", err)
	}
	return a.print("dumped image to " + escape(f.Name()))
}

// attempts is how many files of the same second are told apart.
const attempts = 100

// createNew creates a file that was not there. The temporary directory belongs
// to everybody: what is there under a name that can be guessed may be a link to
// something else. The second file of a name has .1 behind it, and so on.
func createNew(path string) (f *os.File, err error) {
	for i := range attempts {
		numbered := path
		if i > 0 {
			numbered = fmt.Sprintf("%s.%d", path, i)
		}
		f, err = os.OpenFile(numbered, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if !errors.Is(err, fs.ErrExist) {
			break
		}
	}
	return f, err
}
