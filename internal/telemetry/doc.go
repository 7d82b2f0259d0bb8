// Package telemetry shows machines how Waybill does: metrics for Prometheus, a trace of each promotion by OTLP, and
// log lines with IDs that join them.
//
// It watches and decides nothing. What it cannot tell, because the database or a router does not answer, it says
// so and leaves out; nobody ever waits for it.
package telemetry

//go:generate go run ./gen -out ../../docs/metrics.md
