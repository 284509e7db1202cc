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

// save writes a stream from the daemon to a new file in the temporary directory, named
// after name and time, and returns its path. The file gets that name once it is complete;
// after an error it is removed.
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

// attempts bounds the number of files of the same second.
const attempts = 100

// link gives a file a free name. Everybody can write to the temporary directory: an
// existing file under a predictable name may be a link to something else. The second file
// of a name gets the suffix .1, and so on.
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
