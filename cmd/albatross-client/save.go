package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"albatross/messages"
)

// save writes what comes from the daemon to a new file in the temporary
// directory, of its name and the time, and says where it is. Before all of it is
// there no file has that name; where something goes wrong, none is left.
func save(name messages.Name, contents io.Reader) (path string, err error) {
	f, err := os.CreateTemp("", name.String()+".*.part")
	if err != nil {
		return "", err
	}
	defer os.Remove(f.Name())
	_, err = io.Copy(f, contents)
	if err := errors.Join(err, f.Close()); err != nil {
		return "", err
	}
	return link(f.Name(), filepath.Join(os.TempDir(), name.String()+"."+timeText(time.Now())))
}

// attempts is how many files of the same second are told apart.
const attempts = 100

// link gives a file a name that was free. The temporary directory belongs to
// everybody: what is there under a name that can be guessed may be a link to
// something else. The second file of a name has .1 behind it, and so on.
func link(file, path string) (free string, err error) {
	for i := range attempts {
		free = path
		if i > 0 {
			free = fmt.Sprintf("%s.%d", path, i)
		}
		if err = os.Link(file, free); !errors.Is(err, fs.ErrExist) {
			break
		}
	}
	return free, err
}
