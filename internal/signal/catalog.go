package signal

import (
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/waybill-dev/waybill/internal/bridge"
	"github.com/waybill-dev/waybill/internal/judge"
	"github.com/waybill-dev/waybill/internal/router"
)

// Names of signals. Those of a business call are its name with one of the endings: "order_confirm.failed".
const (
	RequestsFailed  = "requests.failed"
	RequestsSeconds = "requests.seconds"

	CallFailed  = ".failed"  // faults
	CallRefused = ".refused" // business errors
	CallSeconds = ".seconds" // of the calls that were done

	LogErrors   = "log.errors"
	LogWarnings = "log.warnings"
	LogSlow     = "log.slow" // queries of a second or more

	PostgresWaiting     = "postgres.waiting"     // share of the pool's busy sessions that wait for a lock
	PostgresTransaction = "postgres.transaction" // seconds of the longest transaction
	PostgresConnections = "postgres.connections"
)

// Calls are the business calls that the bridge times where their modules are installed. Modules may
// name more of them; see docs/signals.md.
var Calls = []string{
	"order_confirm", "purchase_confirm", "reserve", "picking_validate", "pos_sync", "post", "carrier_rate", "carrier_label",
}

var fixed = []judge.Signal{
	{Name: RequestsFailed, Kind: judge.Shares, Role: judge.Trigger, Tolerance: .01},
	{Name: RequestsSeconds, Kind: judge.Latency, Role: judge.Warning, Tolerance: .25, Ratio: 1.25, Bounds: router.LatencyBounds},
	{Name: LogErrors, Kind: judge.Events, Role: judge.Warning, Tolerance: .5},
	{Name: LogWarnings, Kind: judge.Events, Role: judge.Warning, Tolerance: 1},
	{Name: LogSlow, Kind: judge.Events, Role: judge.Warning, Tolerance: 1},
	{Name: PostgresWaiting, Kind: judge.Series, Role: judge.Warning, Tolerance: .1, Interval: 10 * time.Second},
	{Name: PostgresTransaction, Kind: judge.Series, Role: judge.Warning, Tolerance: 5, Interval: 10 * time.Second},
	{Name: PostgresConnections, Kind: judge.Series, Role: judge.Warning, Tolerance: 10, Interval: 10 * time.Second},
}

var callName = regexp.MustCompile(`^[a-z][a-z0-9_]{0,40}$`)

// Lookup gives the signal of a name as it is judged where nobody says otherwise. Every name of a
// call with an ending is one: a module of the release may have named it.
func Lookup(name string) (judge.Signal, error) {
	for _, s := range fixed {
		if s.Name == name {
			return s, nil
		}
	}
	if dot := strings.LastIndexByte(name, '.'); dot > 0 && callName.MatchString(name[:dot]) && !reserved[name[:dot]] {
		switch name[dot:] {
		case CallFailed:
			return judge.Signal{Name: name, Kind: judge.Shares, Role: judge.Trigger, Tolerance: .01}, nil
		case CallRefused: // people are refused every day, and not at the same rate
			return judge.Signal{Name: name, Kind: judge.Shares, Role: judge.Warning, Tolerance: .05}, nil
		case CallSeconds:
			return judge.Signal{Name: name, Kind: judge.Latency, Role: judge.Trigger, Tolerance: .25, Ratio: 1.25, Bounds: bridge.SignalBounds}, nil
		}
	}
	return judge.Signal{}, fmt.Errorf("no signal %q; there are %s, and CALL%s, CALL%s and CALL%s for a call such as %s",
		name, strings.Join(Names(), ", "), CallFailed, CallRefused, CallSeconds, strings.Join(Calls[:4], ", "))
}

// reserved are names that no call may have: their signals would be taken for others.
var reserved = map[string]bool{"requests": true, "log": true, "postgres": true}

// Names are the signals that are no calls'.
func Names() []string {
	names := make([]string, len(fixed))
	for i, s := range fixed {
		names[i] = s.Name
	}
	return names
}
