// An echo server and its client for the mesh profiles of Gateway API's suite, which reads what the client prints: lines of
// FIELD=VALUE, one block a response. Called as "client" it is the client. It needs nothing but Go's own library.
package main

import (
	"fmt"
	"os"
	"path/filepath"
)

func main() {
	run := serve
	if filepath.Base(os.Args[0]) == "client" {
		run = call
	}
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
