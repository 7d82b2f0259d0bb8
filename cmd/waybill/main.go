// Command waybill takes one immutable Odoo release from source to production, and back when it must.
package main

import (
	"os"

	"github.com/waybill-dev/waybill/internal/cli"
)

func main() { os.Exit(cli.Main(os.Args[1:])) }
