//go:build tools

// Package tools pins the tools that verify needs, apart from Waybill's own dependencies.
package tools

import _ "honnef.co/go/tools/cmd/staticcheck"
