package main

import (
	"errors"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/pflag"

	"albatross/messages"
)

// standardOutput is the name of a file that stands for standard output.
const standardOutput = "-"

// An output is where a command writes the contents that were asked for: a new file in the
// temporary directory, or the file of -o, or standard output.
type output struct {
	path   string // "": a new file in the temporary directory
	stdout io.Writer
}

func (o *output) register(flags *pflag.FlagSet, stdout io.Writer) {
	o.stdout = stdout
	flags.VarP(one("FILE", parseText, &o.path), "to", "o", "write to this file instead; - is standard output")
}

// toStdout reports whether the contents go where answers are printed.
func (o *output) toStdout() bool { return o.path == standardOutput }

// save writes the contents, and returns the path of the file. A file has its name only once it
// is complete.
func (o *output) save(name messages.Name, contents io.Reader) (path string, err error) {
	switch o.path {
	case "":
		return save(name, contents)
	case standardOutput:
		_, err := io.Copy(o.stdout, contents)
		return o.path, err
	}
	return o.path, replaceBy(o.path, contents)
}

// replaceBy replaces a file by contents when these are complete. What is no regular file, such
// as a pipe, is written to.
func replaceBy(path string, contents io.Reader) error {
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real
	}
	if stat, err := os.Stat(path); err == nil && !stat.Mode().IsRegular() {
		return writeTo(path, contents)
	}
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*.part")
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(f.Name()) }() // if it has not been renamed
	_, err = io.Copy(f, contents)
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

func writeTo(path string, contents io.Reader) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, contents)
	return errors.Join(err, f.Close())
}
