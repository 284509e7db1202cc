// Walk comes to a few failpoints, and prints a line after each.
package main

import (
	"fmt"

	"albatross/runtime/failpoint"
)

func main() {
	for range 2 {
		failpoint.Here("door/opened")
		fmt.Println("in")
		failpoint.Here("door/closed")
		fmt.Println("out")
	}
}
