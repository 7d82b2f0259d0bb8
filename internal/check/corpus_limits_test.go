package check

import (
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/waybill-dev/waybill/internal/long"
	"github.com/waybill-dev/waybill/internal/odoo"
)

// TestLimits: what would need memory without bound is refused with a clear reason; what is large and
// allowed takes a bounded amount.
func TestLimits(t *testing.T) {
	long.Test(t)
	repeat := strings.Repeat
	xml := func(text []byte) error { _, err := readXML(text); return err }
	csv := func(text []byte) error { _, err := readCSV(text); return err }
	manifest := func(text []byte) error { _, err := odoo.ParseManifest(text); return err }

	laughs := "<!DOCTYPE odoo [\n<!ENTITY lol0 \"lol\">\n"
	for i := range 9 {
		laughs += fmt.Sprintf("<!ENTITY lol%d \"%s\">\n", i+1, repeat(fmt.Sprintf("&lol%d;", i), 10))
	}
	var entities, attributes strings.Builder
	for i := range 20_000 {
		fmt.Fprintf(&entities, "<!ENTITY e%d \"x\">", i)
		fmt.Fprintf(&attributes, " a%d=\"\"", i)
	}
	for _, c := range []struct {
		name   string
		read   func([]byte) error
		text   string
		reason string // part of the error; empty: there is none
		limit  uint64 // MB allocated in all
	}{
		{"billion laughs", xml, laughs + "]>\n<odoo>&lol9;</odoo>", "stands for other entities", 1},
		{"quadratic blow-up", xml, "<!DOCTYPE x [<!ENTITY a \"" + repeat("a", 50_000) + "\">]>\n<odoo>" + repeat("&a;", 50_000) + "</odoo>", "could stand for more than", 1},
		{"file as entity", xml, "<!DOCTYPE x [<!ENTITY a SYSTEM \"file:///dev/zero\">]>\n<odoo>&a;</odoo>", "outside of the file", 1},
		{"parameter entity", xml, "<!DOCTYPE x [<!ENTITY % a \"x\"> %a;]>\n<odoo/>", "outside of the file", 1},
		{"many entities", xml, "<!DOCTYPE x [" + entities.String() + "]>\n<odoo/>", "more than 100 entities", 2},
		{"deep", xml, repeat("<a>", 1_000_000), "within each other", 2},
		{"wide", xml, "<odoo>" + repeat("<a/>", 2_000_000) + "</odoo>", "elements", 256},
		{"many attributes", xml, "<odoo" + attributes.String() + "/>", "attributes", 16},
		{"many pieces of text", xml, "<odoo>" + repeat("a<!---->", 500_000) + "</odoo>", "", 128},
		{"one long text", xml, "<odoo>" + repeat("a", 20<<20) + "</odoo>", "", 256},
		{"XML too large", xml, repeat(" ", maxXMLSize+1), "at most", 1},
		{"CSV too large", csv, repeat(" ", maxCSVSize+1), "at most", 1},
		{"CSV of commas", csv, repeat(",", 8<<20), "fields", 256},
		{"CSV never closed", csv, "a,\"" + repeat("x,\n", 4<<20), "", 128},
		{"manifest of 50 MB", manifest, repeat(" ", 50<<20), "at most", 1},
		{"manifest 10,000 deep", manifest, repeat("[", 10_000), "brackets within each other", 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			text := []byte(c.text)
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			err := c.read(text)
			runtime.ReadMemStats(&after)
			if c.reason == "" && err != nil || c.reason != "" && (err == nil || !strings.Contains(err.Error(), c.reason)) {
				t.Fatalf("want a reason with %q, got %v", c.reason, err)
			}
			if allocated := (after.TotalAlloc - before.TotalAlloc) >> 20; allocated > c.limit {
				t.Errorf("%d MB were allocated for a text of %d kB; at most %d are expected", allocated, len(text)>>10, c.limit)
			} else {
				t.Logf("%d kB of text, %d MB allocated", len(text)>>10, allocated)
			}
		})
	}
}
