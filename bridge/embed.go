// Package bridge holds the Python side of the bridge, the Odoo server-wide module waybill_probe,
// which every image gets as a layer of its own.
package bridge

import "embed"

// Files holds the folder waybill_probe. It may hold tests and compiled files too, which are not for
// an image; package build leaves them out.
//
//go:embed all:waybill_probe
var Files embed.FS
