package programs

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
)

// Keepers returns the processes of the keepers of a --dbdir, among them those that are about
// to become one.
func Keepers(dbdir string) (pids []int) {
	lines, _ := filepath.Glob("/proc/[0-9]*/cmdline") // the pattern is valid
	for _, path := range lines {
		line, err := os.ReadFile(path)
		program, arguments, _ := bytes.Cut(line, []byte{0})
		pid, number := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		if err == nil && number == nil && filepath.Base(string(program)) == "albatross-keeper" &&
			bytes.HasPrefix(arguments, []byte("--dbdir="+dbdir+"\x00")) {
			pids = append(pids, pid)
		}
	}
	return pids
}
