package ledger

// The kinds of events that Waybill's own parts record; docs/ledger.md says what each holds. Others add
// their own, as subject.act.
const (
	ServerStarted      = "server.started"
	ReleaseKnown       = "release.registered"
	PromotionAsked     = "promotion.asked"
	PromotionResumed   = "promotion.resumed"
	PromotionAbandoned = "promotion.abandoned"
	PromotionEnded     = "promotion.ended"
	RollbackAsked      = "rollback.asked"
	RolloutStep        = "rollout.step"
	RolloutEnded       = "rollout.ended"
	RolloutWaits       = "rollout.waits"
	AdmissionRefused   = "admission.refused"
	QuarantineSet      = "quarantine.set"
	QuarantineLifted   = "quarantine.lifted"
	RehearsalAsked     = "rehearsal.asked"
	CheckpointsPruned  = "checkpoints.pruned"
	EstateTaken        = "estate.taken"
	EstateRefused      = "estate.refused"
	EstateAccepted     = "estate.accepted"

	SecretRotated = "secret.rotated"
	SecretRetired = "secret.retired"
	SecretGiven   = "secret.given"
	SecretRead    = "secret.read"

	EmergencyAsked     = "emergency.asked"
	EmergencyConfirmed = "emergency.confirmed"
	EmergencyLapsed    = "emergency.lapsed"
	ReviewClosed       = "review.closed"

	IsolationAsked  = "isolation.asked"
	IsolationBroken = "isolation.broken"
	IsolationMended = "isolation.mended"

	DriftFound  = "drift.found"
	DriftMended = "drift.mended"
	DriftHealed = "drift.healed"
	DriftFought = "drift.fought"
)
