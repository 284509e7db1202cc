// Build compiles the guests: every program of src for every target and processor into bin,
// and writes SUMS beside them, which says from what and with which compiler. The same
// sources and compiler give the same bytes: no paths, no build identifiers, no
// times.
package main

import (
	"fmt"
	"log"
	"os"
	"path/filepath"

	"albatross/test/guests"
)

func main() {
	log.SetFlags(0)
	if len(os.Args) != 3 {
		log.Fatal("usage: build SRC BIN")
	}
	if err := build(os.Args[1], os.Args[2]); err != nil {
		log.Fatal(err)
	}
}

func build(src, bin string) error {
	for _, a := range guests.Architectures {
		if err := buildFor(a, src, filepath.Join(bin, a.Dir)); err != nil {
			return err
		}
	}
	return nil
}

func buildFor(a guests.Architecture, src, bin string) error {
	compiler, err := a.Compiler()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(bin, 0o755); err != nil {
		return err
	}
	for _, name := range guests.Names() {
		for _, target := range guests.Targets() {
			if err := a.Compile(src, name, target, fmt.Sprintf("%s/%s.%s", bin, name, target)); err != nil {
				return err
			}
		}
	}
	sums, err := guests.Sums(src, compiler)
	if err != nil {
		return err
	}
	return os.WriteFile(bin+"/SUMS", []byte(sums), 0o644)
}
