//go:build tools

// Package metrics pins the metrics server, which tells autoscalers of a test's cluster what pods use. It is a module of its own: nothing else
// shall be built at another version because of it.
package metrics

import _ "sigs.k8s.io/metrics-server/cmd/metrics-server"
