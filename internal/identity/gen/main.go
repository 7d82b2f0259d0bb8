// Command gen writes the page of who may do what; see go:generate in package identity.
package main

import (
	"flag"
	"fmt"
	"os"

	"github.com/waybill-dev/waybill/internal/identity"
)

func main() {
	out := flag.String("out", "roles.md", "file to write")
	flag.Parse()
	if err := os.WriteFile(*out, []byte(identity.Document()), 0o644); err != nil {
		fmt.Fprintln(os.Stderr, "gen:", err)
		os.Exit(1)
	}
}
