// Command gen writes the OpenAPI document; see go:generate in package api.
package main

import (
	"flag"
	"fmt"
	"os"

	"github.com/waybill-dev/waybill/internal/api"
)

func main() {
	out := flag.String("out", "openapi.json", "file to write")
	flag.Parse()
	document, err := api.Document()
	if err == nil {
		err = os.WriteFile(*out, document, 0o644)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "gen:", err)
		os.Exit(1)
	}
}
