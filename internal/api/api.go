package api

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/waybill-dev/waybill/internal/approval"
	"github.com/waybill-dev/waybill/internal/checkpoint"
	"github.com/waybill-dev/waybill/internal/estate"
	"github.com/waybill-dev/waybill/internal/identity"
	"github.com/waybill-dev/waybill/internal/impact"
	"github.com/waybill-dev/waybill/internal/ledger"
	"github.com/waybill-dev/waybill/internal/openid"
	"github.com/waybill-dev/waybill/internal/promotion"
	"github.com/waybill-dev/waybill/internal/readings"
	"github.com/waybill-dev/waybill/internal/rehearsal"
	"github.com/waybill-dev/waybill/internal/release"
	"github.com/waybill-dev/waybill/internal/runbook"
	"github.com/waybill-dev/waybill/internal/store"
)

// Backend is what the API speaks for.
type Backend struct {
	Store       *store.Store
	Engine      *promotion.Engine
	Checkpoints *checkpoint.Store
	Rehearsals  *rehearsal.Queue
	Ledger      *ledger.Ledger
	Waybill     func(ctx context.Context, promotion string) (bundle []byte, err error)
	Evidence    func(ctx context.Context, r release.Release) (ReleaseEvidence, error)
	SBOM        func(ctx context.Context, r release.Release) ([]byte, error)
	SignImpact  func(ctx context.Context, a *impact.Assessment) (bundle []byte, err error)
	Estate      func(context.Context) (*estate.Estate, error)
	ReadRelease func(ctx context.Context, ref string) (release.Release, error)
	Doctor      func(context.Context) []Finding
	Runbook     func(ctx context.Context, environment, tenant string) (runbook.Book, error) // of all of an environment where the tenant is empty
	Rescan      func(context.Context) error                                                 // compares what runs with the vulnerability databases, now
	Token       string                                                                      // of the data folder: whoever holds it is the owner
	Owner       string                                                                      // the owner's name on this machine
	Tokens      *identity.Tokens                                                            // of the estate's users; nil: there is the owner alone
	Sessions    *identity.Sessions                                                          // nil: nobody logs in with a browser
	Passwords   *identity.Passwords
	OpenID      *openid.Provider // nil: none
	PublicURL   *url.URL         // where people reach this server; nil: not known
	Approvals   *approval.Room
	Git         Git      // nil: the estate is a folder
	Recorder    Recorder // nil: nothing is recorded
	Version     string
	Events      *Events // what streams are fed from; nil: one of its own
	// VerifyLedger reads all of it, with the keys and the head that the server keeps.
	VerifyLedger func(ctx context.Context) (ledger.Report, error)
	// CheckIsolation begins a run that tries whether an environment's tenants are apart, and says which.
	CheckIsolation func(ctx context.Context, environment, by string) (run int64, err error)
	// Neighbours is what each tenant took lately; false: that is not known yet. nil: it never is.
	Neighbours func(environment string) (Neighbours, bool)
	Metrics    http.Handler // answers scrapes; nil: nothing does
	Counter    Counter      // nil: nobody counts requests

	wrong    *identity.Failures // tokens and cookies, by address
	readings *readings.Readings // that go on for requests
}

// Finding is one thing that the doctor looked at.
type Finding struct {
	Name   string `json:"name"`
	OK     bool   `json:"ok"`
	Detail string `json:"detail"`
	Fix    string `json:"fix,omitempty"` // what to do; with OK: what would be better
}

// maxBody bounds what a client may send.
const maxBody = 1 << 20

// Handler serves /api/v1 and its OpenAPI document.
func Handler(b Backend) http.Handler {
	if b.Events == nil {
		b.Events = NewEvents(b.Store, nil)
	}
	b.readings = readings.New()
	if b.Sessions != nil { // hundreds of open consoles ask in one moment: whether the estate is another one by now is looked at once for them
		sessions, access := *b.Sessions, b.Sessions.Access
		sessions.Access = func(ctx context.Context) (*estate.Access, error) {
			return readings.Shared(ctx, b.readings, "access", access)
		}
		b.Sessions = &sessions
	}
	b.wrong = &identity.Failures{Most: wrongTokens, Period: wrongPeriod}
	mux, document, open := b.mux()
	return reference(document, b.watched(b.guard(b.once(mux), open)))
}

// openRoutes tells which requests are for a route that is open to anybody, by the table of roles.
func openRoutes(mux *http.ServeMux, document *huma.OpenAPI) func(*http.Request) bool {
	open := map[string]bool{}
	for path, item := range document.Paths {
		for method, o := range map[string]*huma.Operation{http.MethodGet: item.Get, http.MethodPost: item.Post} {
			if o == nil {
				continue
			}
			op, _ := o.Metadata["operation"].(identity.Operation)
			if rule, ok := identity.RuleOf(op); ok && rule.Reach == identity.Open {
				open[method+" "+path] = true
				o.Security = []map[string][]string{}
			}
		}
	}
	return func(r *http.Request) bool {
		_, pattern := mux.Handler(r)
		return open[pattern]
	}
}

type body[T any] struct{ Body T }

func reply[T any](v T, err error) (*body[T], error) {
	if err != nil {
		return nil, problem(err)
	}
	return &body[T]{v}, nil
}

// problem turns an error into the answer that it means.
func problem(err error) error {
	var said huma.StatusError
	switch {
	case errors.As(err, &said):
		return err
	case errors.Is(err, promotion.ErrBadRequest), len(estate.Problems(err)) > 0:
		return huma.Error422UnprocessableEntity(strings.TrimPrefix(err.Error(), promotion.ErrBadRequest.Error()+": "))
	case store.IsBadValue(err):
		return huma.Error422UnprocessableEntity("a value holds what the database cannot take, such as a zero byte")
	case errors.Is(err, store.ErrNotFound):
		return huma.Error404NotFound("nothing is known under this name or ID")
	case errors.Is(err, store.ErrTenantBusy):
		return as(tenantBusy, err.Error())
	case errors.Is(err, promotion.ErrNothingToDo):
		return as(nothingToDo, strings.TrimPrefix(err.Error(), promotion.ErrNothingToDo.Error()+": "))
	}
	return huma.Error500InternalServerError(err.Error())
}

// IDInput is the path parameter of whatever is named by one.
type IDInput struct {
	ID string `path:"id"`
}

// Asked is the answer to everything that starts a procedure.
type Asked struct {
	Promotion string `json:"promotion" doc:"ID to watch; empty where a pull request comes first"`
	Commit    string `json:"commit,omitempty" doc:"In the estate's repository, that asks for it"`
	Branch    string `json:"branch,omitempty" doc:"In the estate's repository, that waits to be merged"`
	Link      string `json:"link,omitempty" doc:"Where people see the pull request; empty where the server opens none"`
}

// routes are all there are. Each names its operation with does, and where a role must hold in an environment,
// its handler asks may or sees; see docs/roles.md.
func (b Backend) routes(api huma.API) {
	huma.Get(api, "/api/v1/status", func(ctx context.Context, _ *struct{}) (*body[Status], error) {
		return reply(b.status(ctx))
	}, does(identity.StatusRead))
	huma.Get(api, "/api/v1/doctor", func(ctx context.Context, _ *struct{}) (*body[[]Finding], error) {
		return reply(b.Doctor(ctx), nil)
	}, does(identity.DoctorRead))
	huma.Get(api, "/api/v1/releases", func(ctx context.Context, in *PageInput) (*page[release.Release], error) {
		at, digest, err := behindTime("releases", in.Cursor)
		if err != nil {
			return nil, err
		}
		releases, known, err := b.Store.Releases(ctx, at, digest, in.Limit)
		if err != nil {
			return nil, problem(err)
		}
		return paged(ctx, "releases", summaries(releases), in.Limit, func(r release.Release) []string { return []string{known.UTC().Format(time.RFC3339Nano), r.Digest} }), nil
	}, does(identity.ReleaseRead))
	huma.Get(api, "/api/v1/releases/{id}", func(ctx context.Context, in *IDInput) (*body[release.Release], error) {
		return reply(b.Store.Release(ctx, in.ID))
	}, does(identity.ReleaseRead))
	huma.Post(api, "/api/v1/releases", func(ctx context.Context, in *struct {
		Body struct {
			Ref     string   `json:"ref" doc:"repository@digest in the registry" maxLength:"500"`
			Authors []string `json:"authors,omitempty" maxItems:"100" doc:"Addresses of the commit's author, committer and co-authors: they don't approve it"`
		}
	}) (*body[release.Release], error) {
		r, err := b.ReadRelease(ctx, in.Body.Ref)
		if err != nil {
			return nil, huma.Error422UnprocessableEntity("the registry holds no release " + in.Body.Ref + ": " + err.Error())
		}
		if err := b.Store.PutRelease(ctx, r); err != nil {
			return nil, problem(err)
		}
		if err := b.write(ctx, ledger.Event{Kind: ledger.ReleaseKnown, Release: r.Digest, Payload: map[string]any{"release_name": r.Name, "commit": r.Commit, "source": r.Source, "dirty": r.Dirty}}); err != nil {
			return nil, problem(err)
		}
		return reply(r, b.Store.AddMakers(ctx, r.Digest, store.Makers{People: []string{personOf(ctx).Name}, Emails: in.Body.Authors}))
	}, does(identity.ReleaseRegister))
	b.loginRoutes(api)
	b.peopleRoutes(api)
	b.promotionRoutes(api)
	b.takeBackRoutes(api)
	b.evidenceRoutes(api)
	b.approvalRoutes(api)
	b.gateRoutes(api)
	b.emergencyRoutes(api)
	b.checkpointRoutes(api)
	b.tenantRoutes(api)
	b.rehearsalRoutes(api)
	b.impactRoutes(api)
	b.estateRoutes(api)
	b.vulnerabilityRoutes(api)
	b.ledgerRoutes(api)
	b.secretRoutes(api)
	b.runbookRoutes(api)
	b.isolationRoutes(api)
	b.driftRoutes(api)
	b.neighbourRoutes(api)
	b.restoreRoutes(api)
	b.eventRoutes(api)
	b.reportRoutes(api)
	b.calendarRoutes(api)
	b.tenancyRoutes(api)
	b.metricsRoute(api)
}

// summaries leaves out the long lists of the base's modules.
func summaries(releases []release.Release) []release.Release {
	for i := range releases {
		releases[i].Base.Modules = nil
	}
	return releases
}

func (b Backend) start(ctx context.Context, q promotion.Request) (*body[Asked], error) {
	declared, err := b.Estate(ctx)
	if err != nil {
		return nil, problem(err)
	}
	q.By = personOf(ctx).Name
	id, err := b.Engine.Start(ctx, declared, q)
	return reply(Asked{Promotion: id}, err)
}

func (b Backend) promotionRoutes(api huma.API) {
	huma.Get(api, "/api/v1/promotions", func(ctx context.Context, in *struct {
		Environment string `query:"environment"`
		Before      int64  `query:"before" doc:"seq of the last one seen; a cursor does the same"`
		Steps       string `query:"steps" enum:"newest,all" default:"newest" doc:"newest: all steps of the tenants whose part goes on, and of the others the newest alone"`
		PageInput
	}) (*encodedPage[Promotion], error) {
		before, err := behindNumber("promotions", in.Cursor)
		if err != nil {
			return nil, err
		}
		if before == 0 {
			before = in.Before
		}
		visible, found, err := b.list(ctx, in.Environment, before, in.Limit, in.Steps)
		if err != nil {
			return nil, problem(err)
		}
		p := &encodedPage[Promotion]{Body: found}
		if len(visible) == in.Limit {
			p.Following = follow(ctx, "promotions", []string{strconv.FormatInt(visible[in.Limit-1].Seq, 10)})
		}
		return p, nil
	}, does(identity.PromotionRead))
	huma.Get(api, "/api/v1/promotions/{id}", func(ctx context.Context, in *struct {
		IDInput
		After int64 `query:"after" doc:"Answer only once the revision is above this, or after wait seconds"`
		Wait  int   `query:"wait" minimum:"0" maximum:"30"`
	}) (*body[Promotion], error) {
		if in.Wait > 0 {
			if _, err := b.mayWith(ctx, identity.PromotionRead, in.ID); err != nil {
				return nil, err
			}
			if err := b.await(ctx, in.ID, in.After, time.Duration(in.Wait)*time.Second); err != nil {
				return nil, problem(err)
			}
		}
		return ofPromotion(ctx, b, "whole", in.ID, b.whole)
	}, does(identity.PromotionRead))
	huma.Post(api, "/api/v1/promotions", func(ctx context.Context, in *struct {
		Body struct {
			Release     string   `json:"release" maxLength:"100"`
			Environment string   `json:"environment" maxLength:"100"`
			Tenants     []string `json:"tenants,omitempty" maxItems:"1000"`
			Force       bool     `json:"force,omitempty" doc:"Although the environment before has not had it"`
			PullRequest bool     `json:"pull_request,omitempty" doc:"Only push a branch to the estate's repository, for people to merge"`

			Emergency *EmergencyBody `json:"emergency,omitempty" doc:"Break the glass; see docs/emergency.md"`
		}
	}) (*body[Asked], error) {
		about, err := b.aboutRelease(ctx, in.Body.Environment, in.Body.Release)
		if err != nil {
			return nil, err
		}
		if err := b.may(ctx, identity.PromotionStart, about); err != nil {
			return nil, err
		}
		if in.Body.Force {
			if err := b.may(ctx, identity.PromotionForce, about); err != nil {
				return nil, err
			}
		}
		q := promotion.Request{Kind: promotion.KindPromote, Environment: in.Body.Environment, Tenants: in.Body.Tenants, Release: in.Body.Release, Options: promotion.Options{Force: in.Body.Force}}
		if x := in.Body.Emergency; x != nil {
			if err := b.may(ctx, identity.PromotionBreak, about); err != nil {
				return nil, err
			}
			q.Options.Emergency = &promotion.Emergency{Reason: x.Reason, Second: x.Second}
			return b.emergency(ctx, q)
		}
		if b.Git != nil {
			return reply(b.target(ctx, in.Body.Environment, in.Body.Release, in.Body.Tenants, in.Body.Force, in.Body.PullRequest))
		}
		if in.Body.PullRequest {
			return nil, errNoGit
		}
		return b.start(ctx, q)
	}, does(identity.PromotionStart), answers(http.StatusBadGateway))
	huma.Post(api, "/api/v1/configurations", func(ctx context.Context, in *struct {
		Body struct {
			Environment string `json:"environment" maxLength:"100"`
		}
	}) (*body[Asked], error) {
		if err := b.may(ctx, identity.PromotionStart, identity.Subject{Environment: in.Body.Environment}); err != nil {
			return nil, err
		}
		return b.start(ctx, promotion.Request{Kind: promotion.KindConfiguration, Environment: in.Body.Environment})
	}, does(identity.PromotionStart))
	huma.Post(api, "/api/v1/promotions/{id}/rollback", func(ctx context.Context, in *struct {
		IDInput
		Body struct {
			Reason     string `json:"reason" maxLength:"500"`
			AcceptLoss bool   `json:"accept_loss,omitempty" doc:"What was written since the checkpoint may be lost"`
		}
	}) (*body[Asked], error) {
		if _, err := b.mayWith(ctx, identity.PromotionRollback, in.ID); err != nil {
			return nil, err
		}
		if in.Body.AcceptLoss {
			if _, err := b.mayWith(ctx, identity.PromotionLoss, in.ID); err != nil {
				return nil, err
			}
		}
		return b.rollback(ctx, in.ID, in.Body.Reason, in.Body.AcceptLoss)
	}, does(identity.PromotionRollback))
	huma.Post(api, "/api/v1/promotions/{id}/resume", func(ctx context.Context, in *IDInput) (*body[Asked], error) {
		if _, err := b.mayWith(ctx, identity.PromotionResume, in.ID); err != nil {
			return nil, err
		}
		if err := b.Engine.Resume(ctx, in.ID, personOf(ctx).Name); err != nil {
			return nil, problem(err)
		}
		return reply(Asked{Promotion: in.ID}, nil)
	}, does(identity.PromotionResume))
	huma.Post(api, "/api/v1/promotions/{id}/abandon", func(ctx context.Context, in *struct {
		IDInput
		Body struct {
			Reason string `json:"reason" minLength:"1" maxLength:"500"`
		}
	}) (*body[Asked], error) {
		if _, err := b.mayWith(ctx, identity.PromotionAbandon, in.ID); err != nil {
			return nil, err
		}
		if err := b.Engine.Abandon(ctx, in.ID, in.Body.Reason, personOf(ctx).Name); err != nil {
			return nil, problem(err)
		}
		return reply(Asked{Promotion: in.ID}, nil)
	}, does(identity.PromotionAbandon), describe("Leave a promotion at what it has reached", "Tenants that have not had their turn in their ring keep their release"))
	huma.Delete(api, "/api/v1/quarantine/{environment}/{id}", func(ctx context.Context, in *struct {
		IDInput
		Environment string `path:"environment"`
	}) (*struct{}, error) {
		about, err := b.aboutRelease(ctx, in.Environment, in.ID)
		if err != nil {
			return nil, err
		}
		if err := b.may(ctx, identity.QuarantineLift, about); err != nil {
			return nil, err
		}
		r, err := b.Store.Release(ctx, in.ID)
		if err != nil {
			return nil, problem(err)
		}
		if err := b.write(ctx, ledger.Event{Kind: ledger.QuarantineLifted, Environment: in.Environment, Release: r.Digest, Payload: map[string]any{"release_name": r.Name}}); err != nil {
			return nil, problem(err)
		}
		if err := b.Store.LiftQuarantine(ctx, in.Environment, r.Digest); err != nil {
			return nil, problem(err)
		}
		return nil, nil
	}, does(identity.QuarantineLift))
}

// TenantBody names a tenant.
type TenantBody struct {
	Environment string `json:"environment" maxLength:"100"`
	Tenant      string `json:"tenant" maxLength:"100"`
}

func (b Backend) checkpointRoutes(api huma.API) {
	huma.Get(api, "/api/v1/checkpoints/{environment}/{tenant}", func(ctx context.Context, in *struct {
		Environment string `path:"environment"`
		Tenant      string `path:"tenant"`
		LongPageInput
	}) (*page[checkpoint.Info], error) {
		if err := b.may(ctx, identity.CheckpointRead, identity.Subject{Environment: in.Environment, Name: in.Tenant}); err != nil {
			return nil, err
		}
		list, err := b.Checkpoints.List(ctx, in.Environment, in.Tenant)
		if err != nil {
			return nil, problem(err)
		}
		return cut(ctx, "checkpoints", list, in.Cursor, in.Limit, func(c checkpoint.Info) string { return c.ID })
	}, does(identity.CheckpointRead))
	huma.Post(api, "/api/v1/checkpoints/{environment}/{tenant}/prune", func(ctx context.Context, in *struct {
		Environment string `path:"environment"`
		Tenant      string `path:"tenant"`
		Body        struct {
			Last int `json:"last" minimum:"1" maximum:"10000" doc:"Keep so many newest ones"`
			Days int `json:"days,omitempty" minimum:"0" maximum:"3650" doc:"and all that are not older"`
		}
	}) (*body[[]string], error) {
		if err := b.may(ctx, identity.CheckpointPrune, identity.Subject{Environment: in.Environment, Name: in.Tenant}); err != nil {
			return nil, err
		}
		if err := b.write(ctx, ledger.Event{Kind: ledger.CheckpointsPruned, Environment: in.Environment, Tenant: in.Tenant, Payload: map[string]any{"last": in.Body.Last, "days": in.Body.Days}}); err != nil {
			return nil, problem(err)
		}
		gone, err := b.Checkpoints.Retain(ctx, in.Environment, in.Tenant, checkpoint.Policy{Last: in.Body.Last, Days: in.Body.Days})
		ids := []string{}
		for _, ref := range gone {
			ids = append(ids, ref.ID)
		}
		return reply(ids, err)
	}, does(identity.CheckpointPrune))
	huma.Post(api, "/api/v1/checkpoints", func(ctx context.Context, in *struct{ Body TenantBody }) (*body[Asked], error) {
		if err := b.may(ctx, identity.CheckpointCreate, identity.Subject{Environment: in.Body.Environment, Name: in.Body.Tenant}); err != nil {
			return nil, err
		}
		return b.start(ctx, promotion.Request{Kind: promotion.KindCheckpoint, Environment: in.Body.Environment, Tenants: []string{in.Body.Tenant}})
	}, does(identity.CheckpointCreate))
	huma.Post(api, "/api/v1/tenants", func(ctx context.Context, in *struct {
		Body struct {
			TenantBody
			Release  string   `json:"release,omitempty" maxLength:"100" doc:"With a template: by default the one that the environment's tenants run"`
			From     string   `json:"from,omitempty" maxLength:"300" doc:"environment/tenant/checkpoint to copy"`
			Template string   `json:"template,omitempty" maxLength:"100" doc:"TenantTemplate of the estate: the tenant is written into the estate, made, and served"`
			Hosts    []string `json:"hosts,omitempty" maxItems:"1000" doc:"With a template: instead of its host names"`
		}
	}) (*body[Asked], error) {
		if err := b.may(ctx, identity.TenantCreate, identity.Subject{Environment: in.Body.Environment, Name: in.Body.Tenant}); err != nil {
			return nil, err
		}
		if from, _, _ := strings.Cut(in.Body.From, "/"); in.Body.From != "" { // whose data it is decides who may take it along
			if err := b.may(ctx, identity.CheckpointCopy, identity.Subject{Environment: from, Name: in.Body.From}); err != nil {
				return nil, err
			}
		}
		if in.Body.Template != "" {
			return b.createFrom(ctx, promotion.NewTenant{Environment: in.Body.Environment, Name: in.Body.Tenant, Template: in.Body.Template, Hosts: in.Body.Hosts, Release: in.Body.Release}, in.Body.From)
		}
		if in.Body.Release == "" || len(in.Body.Hosts) > 0 {
			return nil, huma.Error422UnprocessableEntity("a tenant that the estate declares is made by a release, and has its hosts from there: give release, without hosts; or a template")
		}
		return b.start(ctx, promotion.Request{Kind: promotion.KindCreate, Environment: in.Body.Environment, Tenants: []string{in.Body.Tenant},
			Release: in.Body.Release, Options: promotion.Options{Checkpoint: in.Body.From}})
	}, does(identity.TenantCreate))
}
