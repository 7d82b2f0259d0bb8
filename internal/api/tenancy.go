package api

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/waybill-dev/waybill/internal/calendar"
	"github.com/waybill-dev/waybill/internal/estate"
	"github.com/waybill-dev/waybill/internal/identity"
	"github.com/waybill-dev/waybill/internal/router"
	"github.com/waybill-dev/waybill/internal/store"
)

// Tenancy is an environment's tenants and the rings they are in.
type Tenancy struct {
	Environment string           `json:"environment"`
	Rings       []DeclaredRing   `json:"rings" doc:"In the estate's order; none: a release goes to all tenants at once"`
	Tenants     []TenantStanding `json:"tenants"`
	Problems    []string         `json:"problems,omitempty" doc:"Of the environment as a whole"`
}

// DeclaredRing is a ring as the estate declares it.
type DeclaredRing struct {
	Name        string   `json:"name"`
	After       []string `json:"after" doc:"Rings that come first"`
	AtOnce      int      `json:"at_once" doc:"Tenants that are under way at the same time"`
	SoakSeconds float64  `json:"soak_seconds" doc:"How long it must have served the last tenant before a ring after it begins"`
	Failures    int      `json:"failures" doc:"Tenants that may go back before it stops"`
}

// Health sums up what is known of a tenant.
type Health string

// The healths.
const (
	Well  Health = "well"
	Watch Health = "watch" // somebody should look
	Ill   Health = "ill"   // people are concerned, or somebody must act
)

// Risk is one thing about a tenant that somebody should know before it takes a release.
type Risk struct {
	Health Health `json:"health" enum:"watch,ill"`
	Text   string `json:"text"`
}

// TenantStanding is what a tenant runs, how it is, and when it may take a release.
type TenantStanding struct {
	Name           string               `json:"name"`
	Ring           string               `json:"ring,omitempty"`
	Labels         map[string]string    `json:"labels,omitempty"`
	Hosting        string               `json:"hosting" enum:"shared,dedicated"`
	Hosts          []string             `json:"hosts"`
	Serving        string               `json:"serving" doc:"Name of the release that its route goes to; empty: none"`
	ServingDigest  string               `json:"serving_digest"`
	Schema         string               `json:"schema" doc:"Name of the release that its database was updated to"`
	Mode           string               `json:"mode" enum:"open,hold,freeze,suspended,leaving,none"`
	LeavingUntil   *time.Time           `json:"leaving_until,omitempty" doc:"It was deleted; after this time its data goes"`
	CanaryPercent  int                  `json:"canary_percent"`
	Promotion      string               `json:"promotion,omitempty" doc:"The unfinished promotion that it takes part in"`
	PromotionState string               `json:"promotion_state,omitempty"`
	PromotionSays  string               `json:"promotion_says,omitempty" doc:"What it waits for"`
	Last           *store.LastPromotion `json:"last,omitempty" doc:"The newest promotion that has ended"`
	Window         *calendar.Answer     `json:"window,omitempty" doc:"Whether its calendar is open, and if not, when next; absent: no calendar is about it"`
	WindowZone     string               `json:"window_zone,omitempty"`
	StorageBytes   int64                `json:"storage_bytes,omitempty" doc:"Measured where it has a limit"`
	StorageLimit   int64                `json:"storage_limit,omitempty"`
	Health         Health               `json:"health" enum:"well,watch,ill"`
	Risks          []Risk               `json:"risks"`
}

func (b Backend) tenancyRoutes(api huma.API) {
	huma.Get(api, "/api/v1/tenants", func(ctx context.Context, in *struct {
		Environment string `query:"environment" maxLength:"100" doc:"Default: all that one may see"`
	}) (*body[[]Tenancy], error) {
		if in.Environment != "" {
			if err := b.may(ctx, identity.StatusRead, identity.Subject{Environment: in.Environment}); err != nil {
				return nil, err
			}
		}
		sees := b.sees(ctx, identity.StatusRead)
		return reply(b.tenancies(ctx, "", func(environment string) bool {
			return (in.Environment == "" || environment == in.Environment) && sees(environment)
		}))
	}, does(identity.StatusRead), describe("Tenants and rings", "Who runs what, how it is, what stands against a release, and when the next window is"))
	huma.Get(api, "/api/v1/tenants/{environment}/{tenant}", func(ctx context.Context, in *TenantPath) (*body[Tenancy], error) {
		if err := b.may(ctx, identity.StatusRead, identity.Subject{Environment: in.Environment, Name: in.Tenant}); err != nil {
			return nil, err
		}
		found, err := b.tenancies(ctx, in.Tenant, func(environment string) bool { return environment == in.Environment })
		if err == nil && (len(found) == 0 || len(found[0].Tenants) == 0) {
			return nil, huma.Error404NotFound("there is no tenant " + in.Environment + "/" + in.Tenant)
		}
		if err != nil {
			return nil, problem(err)
		}
		return reply(found[0], nil)
	}, does(identity.StatusRead), describe("A tenant", "As in the list, with the rings of its environment"))
	huma.Get(api, "/api/v1/tenants/{environment}/{tenant}/promotions", func(ctx context.Context, in *struct {
		TenantPath
		PageInput
	}) (*page[store.TenantPromotion], error) {
		if err := b.may(ctx, identity.PromotionRead, identity.Subject{Environment: in.Environment, Name: in.Tenant}); err != nil {
			return nil, err
		}
		if err := plain(in.Environment, in.Tenant); err != nil {
			return nil, err
		}
		before, err := behindNumber("a tenant's promotions", in.Cursor)
		if err != nil {
			return nil, err
		}
		found, err := b.Store.TenantPromotions(ctx, in.Environment, in.Tenant, before, in.Limit)
		if err != nil {
			return nil, problem(err)
		}
		return paged(ctx, "a tenant's promotions", found, in.Limit, func(p store.TenantPromotion) []string { return []string{strconv.FormatInt(p.Seq, 10)} }), nil
	}, does(identity.PromotionRead), describe("The promotions of a tenant", "Everything that was done to it, the newest first, with its own part alone"))
}

// tenancies are environments with their tenants, or with one of them.
func (b Backend) tenancies(ctx context.Context, only string, sees func(environment string) bool) ([]Tenancy, error) {
	list := []Tenancy{}
	declared, err := b.Estate(ctx)
	if err != nil {
		return nil, err
	}
	set, err := declared.Calendar()
	if err != nil {
		return nil, err
	}
	vulnerable, err := b.refused(ctx)
	if err != nil {
		return nil, err
	}
	isolation, err := b.Store.IsolationStates(ctx)
	if err != nil {
		return nil, err
	}
	for _, env := range declared.Environments {
		if !sees(env.Name) {
			continue
		}
		t := Tenancy{Environment: env.Name, Rings: []DeclaredRing{}, Tenants: []TenantStanding{}}
		for _, r := range env.Rings {
			t.Rings = append(t.Rings, DeclaredRing{Name: r.Name, After: append([]string{}, r.After...), AtOnce: r.AtOnce, SoakSeconds: r.Soak.Seconds(), Failures: r.Failures})
		}
		for _, state := range isolation {
			if state.Environment == env.Name && state.Broken != 0 {
				t.Problems = append(t.Problems, "tenants are not apart: "+state.BrokenSays)
			}
		}
		if err := b.standings(ctx, &t, env, declared.TenantsOf(env.Name), only, set, vulnerable); err != nil {
			return nil, err
		}
		list = append(list, t)
	}
	return list, nil
}

// refused are releases that run and that the estate would not let in today, by environment and digest.
func (b Backend) refused(ctx context.Context) (map[[2]string]int, error) {
	found, err := b.Store.Vulnerabilities(ctx)
	count := map[[2]string]int{}
	for _, v := range found {
		if v.Level == "refuse" {
			count[[2]string{v.Environment, v.Release}]++
		}
	}
	return count, err
}

// standings reads what is known of an environment's tenants, in a handful of queries however many there are.
func (b Backend) standings(ctx context.Context, view *Tenancy, env estate.Environment, tenants []estate.Tenant, only string, set *calendar.Set, vulnerable map[[2]string]int) error {
	known, err := b.Store.Tenants(ctx, env.Name)
	if err != nil {
		return err
	}
	var digests []string
	states := map[string]store.Tenant{}
	for _, k := range known {
		states[k.Name] = k
		digests = append(digests, k.ServingRelease, k.SchemaRelease)
		if k.Live.Leaving != nil && !slices.ContainsFunc(tenants, func(t estate.Tenant) bool { return t.Name == k.Name }) {
			tenants = append(tenants, estate.Tenant{Name: k.Name, Environment: env.Name, Hosts: k.Hosts})
		}
	}
	names, err := b.Store.ReleaseNames(ctx, digests)
	if err != nil {
		return err
	}
	lasts, err := b.Store.LastPromotions(ctx, env.Name)
	if err != nil {
		return err
	}
	open, err := b.Store.OpenRollouts(ctx, env.Name)
	if err != nil {
		return err
	}
	usage, err := b.Store.Usage(ctx, env.Name)
	if err != nil {
		return err
	}
	last, busy, used, noisy := map[string]*store.LastPromotion{}, map[string]store.OpenRollout{}, map[string]store.TenantUsage{}, map[string]bool{}
	for i := range lasts {
		last[lasts[i].Tenant] = &lasts[i]
	}
	for _, r := range open {
		busy[r.Tenant] = r
	}
	for _, u := range usage {
		used[u.Tenant] = u
	}
	for _, share := range b.neighbours(env.Name).Shares {
		noisy[share.Tenant] = share.Noisy
	}
	now := time.Now()
	for _, t := range tenants {
		if only != "" && t.Name != only {
			continue
		}
		k := states[t.Name]
		s := TenantStanding{Name: t.Name, Ring: env.RingOf(t), Labels: t.Labels, Hosting: string(t.Hosting), Hosts: t.Hosts, Mode: "none",
			ServingDigest: k.ServingRelease, Serving: named(names, k.ServingRelease), Schema: named(names, k.SchemaRelease), CanaryPercent: k.Live.Weight,
			Last: last[t.Name], Window: nextWindow(set, t, now), StorageBytes: used[t.Name].DatabaseBytes + used[t.Name].FilesBytes, StorageLimit: used[t.Name].LimitBytes}
		if s.Window != nil {
			s.WindowZone = set.ZoneOf(t.Subject()).String()
		}
		if s.Hosting == "" {
			s.Hosting = string(estate.Shared)
		}
		if r, ok := busy[t.Name]; ok {
			s.Promotion, s.PromotionState, s.PromotionSays = r.Promotion, r.State, r.Says
		}
		s.mode(k)
		s.judge(k, used[t.Name], noisy[t.Name], vulnerable[[2]string{env.Name, k.ServingRelease}])
		view.Tenants = append(view.Tenants, s)
	}
	return nil
}

func named(names map[string]string, digest string) string {
	if name := names[digest]; name != "" {
		return name
	}
	return digest
}

// mode is what its people find.
func (s *TenantStanding) mode(k store.Tenant) {
	switch l := k.Live; {
	case l.Leaving != nil:
		s.Mode, s.Serving, s.ServingDigest, s.LeavingUntil = "leaving", "", "", &l.Leaving.Until
	case l.Stable == "":
	case l.Suspended:
		s.Mode = "suspended"
	case l.Mode != "":
		s.Mode = string(l.Mode)
	default:
		s.Mode = "open"
	}
}

// judge lists what somebody should know, the worst first, and sums it up.
func (s *TenantStanding) judge(k store.Tenant, used store.TenantUsage, noisy bool, vulnerabilities int) {
	s.Health, s.Risks = Well, []Risk{}
	add := func(h Health, format string, args ...any) {
		s.Risks = append(s.Risks, Risk{h, fmt.Sprintf(format, args...)})
		if h == Ill || s.Health == Well {
			s.Health = h
		}
	}
	if s.PromotionState == store.Waiting {
		add(Ill, "promotion %s waits for a person: %s", s.Promotion, s.PromotionSays)
	}
	switch {
	case s.Mode == "none" && s.Promotion == "":
		add(Watch, "nothing serves it")
	case s.Mode == "leaving":
		add(Ill, "it was deleted; its data goes at %s", k.Live.Leaving.Until.UTC().Format(time.RFC3339))
	case s.Mode == "suspended":
		add(Ill, "it is closed to its people")
	case s.Mode == string(router.Freeze) && s.Promotion == "":
		add(Ill, "its people see a page that asks them to wait, and no promotion is under way")
	}
	if used.Level >= 2 {
		add(Ill, "it takes more storage than it may: %.0f %%", 100*used.Share())
	}
	if vulnerabilities > 0 {
		add(Ill, "what it runs has %d known vulnerabilities for which the estate would refuse it today", vulnerabilities)
	}
	if s.Last != nil && s.Last.Outcome == store.RolledBack {
		add(Watch, "the last promotion went back: %s", s.Last.Reason)
	}
	if s.Serving != "" && s.Schema != "" && k.ServingRelease != k.SchemaRelease && s.Promotion == "" {
		add(Watch, "its database was updated to %s, and %s serves: a route went back", s.Schema, s.Serving)
	}
	if used.Level == 1 {
		add(Watch, "it takes %.0f %% of the storage that it may", 100*used.Share())
	}
	if noisy {
		add(Watch, "it is a noisy neighbour: others wait behind it")
	}
	if s.Window != nil && !s.Window.Open && s.Window.Next.IsZero() {
		add(Watch, "its calendar does not open within %s", calendar.Spoken(calendar.Horizon))
	}
	slices.SortStableFunc(s.Risks, func(a, b Risk) int { return rank(b.Health) - rank(a.Health) })
}

func rank(h Health) int { return slices.Index([]Health{Well, Watch, Ill}, h) }
