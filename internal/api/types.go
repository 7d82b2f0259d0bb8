// Package api is the HTTP API: the only way in, for the command line as for anybody else.
package api

import (
	"time"

	"github.com/waybill-dev/waybill/internal/promotion"
	"github.com/waybill-dev/waybill/internal/ring"
	"github.com/waybill-dev/waybill/internal/store"
)

// Promotion is what the API tells of a promotion.
type Promotion struct {
	ID           string     `json:"id"`
	Seq          int64      `json:"seq" doc:"Order of creation; also the cursor of a list"`
	Kind         string     `json:"kind" enum:"promote,configuration,rollback,restore,create,suspend,resume,delete,undelete,purge,checkpoint,rotate,move,rename,restore_beside,drop_beside"`
	Environment  string     `json:"environment"`
	Release      string     `json:"release" doc:"Digest of the image manifest"`
	ReleaseName  string     `json:"release_name"`
	Class        string     `json:"class,omitempty"`
	Outcome      string     `json:"outcome" doc:"promoted, rolled_back, waiting, halted; empty while it runs"`
	RequestedBy  string     `json:"requested_by"`
	EstateCommit string     `json:"estate_commit,omitempty"`
	Created      time.Time  `json:"created"`
	Finished     *time.Time `json:"finished,omitempty"`
	Revision     int64      `json:"revision" doc:"Grows with every change; ask for a newer one with ?after="`
	Rollouts     []Rollout  `json:"rollouts"`
	Rings        []Ring     `json:"rings,omitempty" doc:"In the estate's order; absent: all tenants at once"`
	Procedure    []string   `json:"procedure,omitempty" doc:"The steps of its kind, in order; not in lists"`

	Emergency *store.Emergency `json:"emergency,omitempty" doc:"Somebody broke the glass for it"`
}

// Ring is how far the tenants of one ring are.
type Ring struct {
	Name     string     `json:"name"`
	State    ring.State `json:"state" enum:"waits,goes,soaks,through,stopped"`
	Why      string     `json:"why,omitempty"`
	Until    *time.Time `json:"until,omitempty" doc:"When what it waits for is over, where time alone does that"`
	Total    int        `json:"total" doc:"Tenants that take part"`
	UnderWay int        `json:"under_way"`
	Promoted int        `json:"promoted"`
	Failed   int        `json:"failed" doc:"Went back, or were not let in"`
}

// Rollout is one tenant's part.
type Rollout struct {
	Tenant      string  `json:"tenant"`
	Ring        string  `json:"ring,omitempty"`
	State       string  `json:"state" enum:"running,undoing,waiting,done"`
	Outcome     string  `json:"outcome" doc:"promoted, rolled_back, waiting; empty while it runs"`
	Reason      string  `json:"reason"`
	HeldSeconds float64 `json:"held_seconds"`
	Predicted   float64 `json:"predicted_seconds,omitempty" doc:"What a rehearsal predicted for held_seconds"`
	WaitsFor    string  `json:"waits_for,omitempty"`
	Rehearsal   string  `json:"rehearsal,omitempty" doc:"ID of the rehearsal that its class comes from"`
	Checkpoint  string  `json:"checkpoint,omitempty" doc:"The checkpoint to restore from by hand"`
	Steps       []Step  `json:"steps" doc:"In the order in which they began; in a list, of a part that has ended the newest alone, unless steps=all was asked for"`

	Verdicts []promotion.Verdict `json:"verdicts,omitempty" doc:"On the weights of the shift and the bake, with their evidence; not in lists"`
}

// Step is one try at one step.
type Step struct {
	Name     string     `json:"name"`
	Undo     bool       `json:"undo,omitempty"`
	Outcome  string     `json:"outcome" enum:"running,done,skipped,failed,retried,interrupted,waits"`
	Detail   string     `json:"detail"`
	Started  time.Time  `json:"started"`
	Finished *time.Time `json:"finished,omitempty"`
}

// Status is what runs where.
type Status struct {
	Version      string        `json:"version"`
	Estate       string        `json:"estate"`
	EstateCommit string        `json:"estate_commit"`
	Environments []Environment `json:"environments"`
	Problems     []string      `json:"problems,omitempty" doc:"What keeps Waybill from knowing whether something that runs is vulnerable"`
}

// Environment is one stage of the pipeline.
type Environment struct {
	Name    string   `json:"name"`
	Address string   `json:"address" doc:"Where its router listens"`
	Tenants []Tenant `json:"tenants"`

	Problems   []string `json:"problems,omitempty" doc:"What is wrong here and somebody must see to"`
	Vulnerable []string `json:"vulnerable,omitempty" doc:"What runs here and is known to be vulnerable, so that the estate would not let it in today"`
}

// Tenant is what a tenant runs.
type Tenant struct {
	Name           string     `json:"name"`
	Database       string     `json:"database"`
	Hosts          []string   `json:"hosts"`
	Serving        string     `json:"serving" doc:"Name of the release that its route goes to; empty: none"`
	ServingDigest  string     `json:"serving_digest"`
	Schema         string     `json:"schema" doc:"Name of the release that its database was updated to"`
	SchemaDigest   string     `json:"schema_digest"`
	Mode           string     `json:"mode" enum:"open,hold,freeze,suspended,leaving,none"`
	LeavingUntil   *time.Time `json:"leaving_until,omitempty" doc:"It was deleted; after this time its data goes"`
	CanaryPercent  int        `json:"canary_percent"`
	Promotion      string     `json:"promotion,omitempty" doc:"The unfinished promotion that it takes part in"`
	PromotionState string     `json:"promotion_state,omitempty"`
	Beside         []Beside   `json:"beside,omitempty" doc:"Checkpoints of it that were restored beside it"`
}
