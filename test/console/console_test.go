//go:build browser

// Package console_test opens the console in Chromium, on a server as people run it: docs/console.md.
package console_test

import "testing"

// TestConsole is what needs no Odoo: a server with an estate, people, and months of history. Every page in light and dark, on a desktop
// and on a tablet; who may do what; a promotion asked for, rejected, asked for again and approved.
func TestConsole(t *testing.T) {
	s := start(t)
	s.givePasswords("anna", "bert", "olga", "vera", "walt")
	s.buildReleases("r1", "r2", "r3", "r4", "r5", "r6", "r7")
	play(t, s, s.remember(), "console", "acts", "pages")
}
