// Build compiles the guests: every program of src for every target into bin,
// and writes bin/SUMS, which says from what and with which compiler. The same
// sources and compiler give the same bytes: no paths, no build identifiers, no
// times.
package main

import (
	"fmt"
	"log"
	"os"

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
	compiler, err := guests.Compiler()
	if err != nil {
		return err
	}
	for _, name := range guests.Names() {
		for _, target := range guests.Targets() {
			out := fmt.Sprintf("%s/%s.%s", bin, name, target)
			if err := guests.Compile(src, name, target, out); err != nil {
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
