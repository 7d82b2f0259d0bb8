package telemetry

import (
	"fmt"
	"strconv"
	"strings"
)

var sources = map[origin]string{
	fromServer: "this server: add servers up",
	fromStore:  "the database: the same from every server",
	fromRouter: "the router, as told to this server: much the same from every server",
	fromBucket: "the bucket: the same from every server",
}

// Document is the page of all metrics.
func Document() string {
	var b strings.Builder
	b.WriteString(preface)
	for _, m := range catalogue {
		of := "—"
		if len(m.labels) > 0 {
			of = "`" + strings.Join(m.labels, "`, `") + "`"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s | %s |\n", m.name, m.kind, of, m.help, m.origin)
	}
	b.WriteString("\nFrom:\n\n")
	for _, o := range []origin{fromServer, fromStore, fromRouter, fromBucket} {
		fmt.Fprintf(&b, "- **%s**: %s.\n", o, sources[o])
	}
	return b.String()
}

var preface = `<!-- Written by make generate from internal/telemetry. -->
# Metrics

What ` + "`/metrics`" + ` of the server says, in Prometheus' text format. [Telemetry](telemetry.md) says who may read it, and what to
do with it. Besides these there are the ` + "`go_…`" + ` and ` + "`process_…`" + ` metrics of every Go program.

A label never holds what people or requests make up: environments, tenants and notification targets are the estate's, steps,
kinds and outcomes are Waybill's, operations the API's, pools those that a router knows now. Only those with the label ` + "`tenant`" + ` grow with
tenants: an environment of more than ` + strconv.Itoa(TenantsShown) + ` tenants has none of them, and the sums and extremes beside them are enough for an alert.

| metric | type | labels | what it says | from |
|---|---|---|---|---|
`
