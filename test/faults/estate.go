package faults

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/waybill-dev/waybill/examples/acme/stage"
)

// workers of each pool: the old one and the new one have the same, or their durations could not be compared.
const workers = 2

// writeEstate declares how the fault's release is judged, and that each of them is compatible. The rest of the
// estate is there.
func writeEstate(dir, address string, all []fault, f fault) error {
	var classes []string
	for _, f := range all {
		classes = append(classes, fmt.Sprintf("kind: Classification\nrelease: %s\nclass: compatible\nreason: It differs from r1 in code alone.\n", f.name))
	}
	for name, text := range map[string]string{
		"faults.yaml": strings.Join(classes, "---\n"),
		"production.yaml": fmt.Sprintf(`kind: Environment
name: production
runtime:
  docker:
    http: %s
workers: %d
hold_budget: 5m
rollout:
  steps: [50]
  requests: 40
  events: %s
  step_deadline: 20m
  bake: %s
  signals:
    - {signal: "*.seconds", role: trigger, tolerance: 15%%}
    - {signal: "*.failed", tolerance: 0.3%%}
    - {signal: cron.late, tolerance: 90}
---
kind: Tenant
name: acme
environment: production
database: %s
hosts: [%s]
modules: [acme_base, acme_dock, acme_label]
`, address, workers, cmp.Or(f.head["events"], "600"), cmp.Or(f.head["bake"], "3s"), stage.Database, stage.Host),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			return err
		}
	}
	return nil
}
