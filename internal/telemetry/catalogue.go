package telemetry

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
)

// kind is what Prometheus makes of a metric.
type kind string

const (
	counter   kind = "counter"
	gauge     kind = "gauge"
	histogram kind = "histogram"
)

// origin says how to read a metric where several servers share one database.
type origin string

const (
	fromServer origin = "server" // what this process did: add the servers up
	fromStore  origin = "store"  // what the database says: each server says the same
	fromRouter origin = "router" // what a router told this process since it began: each server says nearly the same
	fromBucket origin = "bucket" // what lies in the bucket, at most so old as checkpointsEvery
)

// metric is one that Waybill exports.
type metric struct {
	name   string
	kind   kind
	origin origin
	help   string
	labels []string
}

func labels(names ...string) []string { return names }

// catalogue is all there is, in the order of the documentation. Nothing else can be exported: desc knows no other name.
var catalogue = []metric{
	{"waybill_build_info", gauge, fromServer, "Always 1; the version in its labels.", labels("version", "goversion")},
	{"waybill_store_up", gauge, fromServer, "1 where Waybill's own database answered this scrape. With 0, everything that comes from it is missing.", nil},
	{"waybill_store_bytes", gauge, fromStore, "Size of Waybill's own database.", nil},

	{"waybill_promotions_total", counter, fromStore, "Promotions that have ended, since the database was made.", labels("kind", "environment", "outcome")},
	{"waybill_promotions_open", gauge, fromStore, "Promotions that have not ended.", labels("kind", "environment")},
	{"waybill_rollouts_open", gauge, fromStore, "Tenants in a promotion that have not ended, by state: running, undoing, waiting (for a person).", labels("environment", "state")},
	{"waybill_person_waiting_seconds", gauge, fromStore, "Age of the rollout that waits for a person, and was asked for first.", nil},
	{"waybill_gates_waiting", gauge, fromStore, "Rollouts that wait at a gate: for an approval, a window, evidence.", labels("environment")},
	{"waybill_quarantined_releases", gauge, fromStore, "Releases that were taken back and are kept out.", labels("environment")},
	{"waybill_reviews_open", gauge, fromStore, "Emergency promotions whose review is not closed.", labels("environment")},
	{"waybill_step_duration_seconds", histogram, fromServer, "Time that one try at a step of a procedure took. A step that waits has been tried anew each time it looked.", labels("step", "way", "outcome")},
	{"waybill_held_seconds", histogram, fromServer, "Time for which one tenant's requests waited in a rollout that held them.", labels("environment")},
	{"waybill_rehearsals_open", gauge, fromStore, "Rehearsals that were asked for and have not ended.", nil},
	{"waybill_rehearsal_duration_seconds", histogram, fromServer, "Time that a rehearsal took.", labels("environment", "outcome")},

	{"waybill_leases", gauge, fromStore, "Rollouts that a server works on: held, or lapsed because that server did not renew it.", labels("state")},
	{"waybill_rollouts_due", gauge, fromStore, "Rollouts whose time has come and that nobody works on. More than a moment of it means that no server does its work.", nil},
	{"waybill_rollouts_due_seconds", gauge, fromStore, "For how long the first of those has been due.", nil},
	{"waybill_jobs", gauge, fromStore, "Jobs of River that have not ended.", labels("kind", "state")},
	{"waybill_jobs_ready_seconds", gauge, fromStore, "For how long the oldest job has been ready to run.", nil},

	{"waybill_ledger_entries_total", counter, fromStore, "Entries in the ledger's chain.", nil},
	{"waybill_ledger_unchained", gauge, fromStore, "Events that were written down and are not in the chain yet.", nil},
	{"waybill_ledger_lag_seconds", gauge, fromStore, "Age of the oldest of those.", nil},
	{"waybill_ledger_uncovered", gauge, fromStore, "Entries that no signed head covers yet.", nil},
	{"waybill_ledger_head_timestamp_seconds", gauge, fromStore, "When the newest head was signed.", nil},

	{"waybill_checkpoint_tenants", gauge, fromBucket, "Tenants that serve a release, by whether they have a checkpoint: yes, no.", labels("environment", "checkpoint")},
	{"waybill_checkpoint_oldest_timestamp_seconds", gauge, fromBucket, "Recovery point of the tenant whose newest checkpoint is the oldest.", labels("environment")},
	{"waybill_checkpoint_timestamp_seconds", gauge, fromBucket, "Recovery point of a tenant's newest checkpoint.", labels("environment", "tenant")},
	{"waybill_checkpoint_bytes", gauge, fromBucket, "What was stored for that checkpoint alone: its dump, and files that were new.", labels("environment", "tenant")},
	{"waybill_checkpoint_verified", gauge, fromBucket, "1 where that checkpoint was read back.", labels("environment", "tenant")},
	{"waybill_checkpoints_looked_timestamp_seconds", gauge, fromBucket, "When the bucket was last looked at, whole.", nil},

	{"waybill_tenants", gauge, fromStore, "Tenants that Waybill knows.", labels("environment")},
	{"waybill_tenant_storage_ratio", gauge, fromStore, "What a tenant takes of the storage that it may; above 1 it is more.", labels("environment", "tenant")},
	{"waybill_isolation_verdict", gauge, fromStore, "Always 1; what the newest trial of whether tenants are apart came to, in its label.", labels("environment", "verdict")},
	{"waybill_drifts", gauge, fromStore, "Objects in a cluster that are not as Waybill applied them, by state: found, fought (brought back again and again, and left alone for now). Without an environment: those of the whole cluster.", labels("environment", "state")},
	{"waybill_vulnerabilities", gauge, fromStore, "Advisories that concern what runs, by what the estate's rules make of them: refuse, warn.", labels("environment", "level")},

	{"waybill_notifications_total", counter, fromServer, "Tries to tell somebody, by target of the estate: delivered, failed (to be tried again), given_up.", labels("target", "outcome")},
	{"waybill_notifications_pending", gauge, fromStore, "Deliveries still to be made.", nil},
	{"waybill_notifications_pending_seconds", gauge, fromStore, "For how long the oldest of those has been waited for.", nil},
	{"waybill_notifications_given_up", gauge, fromStore, "Deliveries that were given up within the last day.", nil},

	{"waybill_git_turns_total", counter, fromServer, "Looks at the estate's repository, by outcome: done, failed.", labels("outcome")},
	{"waybill_git_problem", gauge, fromStore, "1 where the newest commit of the estate's branch is not in force, or the remote was not reached.", nil},
	{"waybill_git_blocked", gauge, fromStore, "Targets and configurations of the commit in force that could not be started.", nil},
	{"waybill_git_reversals_pending", gauge, fromStore, "Releases that went back, which Git has still to be told.", nil},

	{"waybill_api_requests_total", counter, fromServer, "Requests to the API, by operation of the OpenAPI document; none: no such path, or turned away before.", labels("operation", "code")},
	{"waybill_api_request_duration_seconds", histogram, fromServer, "Time that requests to the API took; not of those that ask to wait for news.", labels("operation")},
	{"waybill_api_requests_in_flight", gauge, fromServer, "Requests to the API that are being answered, streams included.", nil},

	{"waybill_router_up", gauge, fromRouter, "1 where an environment's router answered.", labels("environment")},
	{"waybill_router_requests_total", counter, fromRouter, "Requests of people that pools answered, by class of status; gone: the client left before.", labels("environment", "pool", "code")},
	{"waybill_router_requests_failed_total", counter, fromRouter, "Of those, 5xx and no answer at all.", labels("environment", "pool")},
	{"waybill_router_request_duration_seconds", histogram, fromRouter, "Time from asking the pool to the head of its answer; a hold before that does not count.", labels("environment", "pool")},
	{"waybill_router_requests_in_flight", gauge, fromRouter, "Requests that pools are answering.", labels("environment", "pool")},
	{"waybill_router_websockets", gauge, fromRouter, "Open WebSockets.", labels("environment", "pool")},
	{"waybill_router_requests_held", gauge, fromRouter, "Requests that wait in a hold now.", labels("environment")},
	{"waybill_router_requests_held_total", counter, fromRouter, "Requests that ever waited in a hold.", labels("environment")},
	{"waybill_router_holds_expired_total", counter, fromRouter, "Of those, answered with 503 because the hold outlived its limit.", labels("environment")},
	{"waybill_router_requests_frozen_total", counter, fromRouter, "Requests that got the page of a freeze.", labels("environment")},

	{"waybill_trace_errors_total", counter, fromServer, "Failures to hand traces to the collector.", nil},
}

// bounds of histograms, in seconds.
var bounds = map[string][]float64{
	"waybill_step_duration_seconds":        {.1, .5, 1, 2.5, 5, 10, 30, 60, 300, 1800},
	"waybill_held_seconds":                 {.5, 1, 2, 3, 5, 8, 12, 20, 60, 300, 1800},
	"waybill_rehearsal_duration_seconds":   {30, 60, 120, 300, 600, 1200, 1800, 3600, 7200},
	"waybill_api_request_duration_seconds": {.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 10},
}

func find(name string) metric {
	for _, m := range catalogue {
		if m.name == name {
			return m
		}
	}
	panic(fmt.Sprintf("telemetry: %s is not in the catalogue", name))
}

func desc(name string) *prometheus.Desc {
	m := find(name)
	return prometheus.NewDesc(m.name, m.help, m.labels, nil)
}
