package estate

// Drift says what becomes of an object of a cluster that somebody else has changed, or deleted.
type Drift string

// What becomes of it.
const (
	DriftReport Drift = "report" // it is told, and stays
	DriftHeal   Drift = "heal"   // it is told, and brought back; three times an hour at most
)

var drifts = []string{string(DriftReport), string(DriftHeal)}

func (d *document) drift(v Drift) {
	if d.given("drift") && !d.unread("drift") {
		d.oneOf("drift", string(v), drifts)
	}
}
