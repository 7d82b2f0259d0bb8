// Command gen writes the page of metrics; see go:generate in package telemetry.
package main

import (
	"flag"
	"fmt"
	"os"

	"github.com/waybill-dev/waybill/internal/telemetry"
)

func main() {
	out := flag.String("out", "metrics.md", "file to write")
	flag.Parse()
	if err := os.WriteFile(*out, []byte(telemetry.Document()), 0o644); err != nil {
		fmt.Fprintln(os.Stderr, "gen:", err)
		os.Exit(1)
	}
}
