package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"albatross/messages"
	"albatross/runtime/durable"
)

// linkBlocks gives block devices that native albatross could not find a second name, and
// reports them. A failure is no error: the state is written.
func (e exporter) linkBlocks(unikernels []messages.NamedConfig) {
	dir := filepath.Join(e.daemon.dbdir, "block")
	linked, err := linkLowerCase(dir)
	for _, link := range linked {
		e.out.message(warning, link+" is a link now, by which native albatross finds the block device since 2.6: it makes all names lower case")
	}
	uses := func(u messages.NamedConfig) bool { return len(u.Config.Blocks) > 0 }
	if err != nil && slices.ContainsFunc(unikernels, uses) {
		e.out.message(warning, fmt.Sprintf("block devices whose files in %s have upper-case letters in their names are not found by native albatross, "+
			"and cannot be looked for (%v): is it the directory of --dbdir?", dir, err))
	}
}

// linkLowerCase links files in a directory to their names in lower case, unless those
// exist, and returns the links. The links are relative, so that they stay valid when the
// directory is moved.
func linkLowerCase(dir string) (linked []string, err error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	for _, entry := range entries {
		lower := strings.ToLower(entry.Name())
		if lower == entry.Name() || !strings.Contains(lower, ":") {
			continue
		}
		link := filepath.Join(dir, lower)
		switch err := os.Symlink(entry.Name(), link); {
		case errors.Is(err, os.ErrExist):
		case err != nil:
			return linked, err
		default:
			linked = append(linked, link)
		}
	}
	return linked, durable.SyncDir(dir)
}
