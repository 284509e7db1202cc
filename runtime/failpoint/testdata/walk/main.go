// Walk comes to a few points and tells of each what has come after it.
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
