package promotion

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/waybill-dev/waybill/internal/checkpoint"
	"github.com/waybill-dev/waybill/internal/estate"
	"github.com/waybill-dev/waybill/internal/store"
)

// NewTenant asks for a tenant that is made from a template.
type NewTenant struct {
	Environment string
	Name        string
	Template    string
	Hosts       []string // instead of the template's; where the estate has the tenant already: none
	Release     string   // empty: the one that the environment's tenants run
	By          string
}

// CreateFrom starts the promotion that makes a tenant from a template. Everything that can be known to be wrong is an error
// now: nothing was begun then.
func (e *Engine) CreateFrom(ctx context.Context, declared *estate.Estate, n NewTenant) (string, error) {
	template, there := declared.Template(n.Template)
	if !there {
		return "", badRequest("the estate has no TenantTemplate %q; it has %s. To copy a checkpoint, name it: --from ENVIRONMENT/TENANT/CHECKPOINT", n.Template, templates(declared))
	}
	if !slices.Contains(template.Environments, n.Environment) {
		return "", badRequest("no tenant of %s is made from TenantTemplate %s; its environments are %s", n.Environment, n.Template, strings.Join(template.Environments, ", "))
	}
	q := Request{Kind: KindCreate, Environment: n.Environment, Tenants: []string{n.Name}, Release: n.Release, By: n.By, Options: Options{Template: n.Template}, template: &template}
	known, err := e.rooms.Store.Tenants(ctx, n.Environment)
	if err != nil {
		return "", err
	}
	for _, t := range known {
		if t.Name == n.Name && t.Live.Leaving != nil {
			return "", badRequest("%s", leavingLine(n.Environment, n.Name, *t.Live.Leaving))
		}
		if t.Name == n.Name && (t.ServingRelease != "" || t.SchemaRelease != "") {
			return "", badRequest("there is a tenant %s/%s already, with its data in database %s", n.Environment, n.Name, t.Database)
		}
	}
	if q.Release == "" {
		if q.Release, err = running(known, n.Environment); err != nil {
			return "", err
		}
	}
	if template.Data != "" {
		if q.Options.Checkpoint, err = e.dataOf(ctx, template); err != nil {
			return "", err
		}
	}
	after := declared
	if at := slices.IndexFunc(declared.Tenants, func(t estate.Tenant) bool { return t.Environment == n.Environment && t.Name == n.Name }); at < 0 {
		if q.document, after, err = e.tryTenant(ctx, declared, template, n); err != nil {
			return "", err
		}
	} else if len(n.Hosts) > 0 {
		return "", badRequest("the estate has Tenant %s already, in %s, where its hosts stand; ask without --host", n.Name, declared.Tenants[at].File())
	}
	return e.Start(ctx, after, q)
}

// tryTenant writes the tenant's document, and reads the estate as it will be with it.
func (e *Engine) tryTenant(ctx context.Context, declared *estate.Estate, template estate.TenantTemplate, n NewTenant) ([]byte, *estate.Estate, error) {
	if e.rooms.Declarations == nil {
		return nil, nil, badRequest("this server cannot write the estate; add Tenant %s to it by hand, and ask again", n.Name)
	}
	document := estate.TenantDocument(template.Tenant(n.Environment, n.Name, n.Hosts),
		fmt.Sprintf("Made from TenantTemplate %s, asked for by %s on %s (%s).", template.Name, oneLine(n.By), time.Now().UTC().Format(time.DateOnly), newID()))
	out, err := e.rooms.Declarations.Try(ctx, estate.Change{Environment: n.Environment, Tenant: n.Name, Add: document})
	if err != nil {
		return nil, nil, badRequest("tenant %s/%s cannot be added to the estate; nothing was made: %w", n.Environment, n.Name, err)
	}
	after := *out.Estate
	after.Root, after.Commit, after.Dirty = declared.Root, declared.Commit, declared.Dirty
	return document, &after, nil
}

func templates(declared *estate.Estate) string {
	var names []string
	for _, t := range declared.Templates {
		names = append(names, t.Name)
	}
	if len(names) == 0 {
		return "none (kind: TenantTemplate)"
	}
	return strings.Join(names, ", ")
}

// running is the one release that the tenants of an environment are served by.
func running(known []store.Tenant, environment string) (string, error) {
	var releases []string
	for _, t := range known {
		if t.ServingRelease != "" && t.Live.Leaving == nil && !slices.Contains(releases, t.ServingRelease) {
			releases = append(releases, t.ServingRelease)
		}
	}
	switch len(releases) {
	case 0:
		return "", badRequest("nothing serves in %s yet; say which release the tenant shall have: --release", environment)
	case 1:
		return releases[0], nil
	}
	return "", badRequest("the tenants of %s are served by %d different releases; say which of them the new one shall have: --release", environment, len(releases))
}

// dataOf is the checkpoint that a template's data comes from.
func (e *Engine) dataOf(ctx context.Context, template estate.TenantTemplate) (string, error) {
	if strings.Count(template.Data, "/") == 2 {
		return template.Data, nil
	}
	environment, tenant, _ := strings.Cut(template.Data, "/")
	found, err := e.rooms.Checkpoints.List(ctx, environment, tenant)
	if err != nil {
		return "", fmt.Errorf("look for a checkpoint of %s: %w", template.Data, err)
	}
	if at := slices.IndexFunc(found, func(c checkpoint.Info) bool { return !c.Verified.IsZero() }); at >= 0 {
		return found[at].Ref().String(), nil
	}
	return "", badRequest("TenantTemplate %s has its data from %s, of which there is no checkpoint that was read back yet. Take one: waybill checkpoint create %s", template.Name, template.Data, template.Data)
}

var (
	fromTemplate condition = func(w *Work) (bool, string) {
		return w.env.Template != nil, "" // else somebody promotes a release to it
	}
	undeclared condition = func(w *Work) (bool, string) {
		return w.env.Document != "", ""
	}
)

func (w *Work) saying(format string, args ...any) Saying {
	return Saying{Subject: fmt.Sprintf(format, args...), By: w.promotion.RequestedBy, Promotion: w.promotion.ID}
}

func (w *Work) ofTenant() estate.Change {
	return estate.Change{Environment: w.rollout.Environment, Tenant: w.tenant.Name}
}

// declareTenant writes the tenant into the estate. The document is this promotion's alone, so one that is there already and
// says the same was written by it before a kill.
func declareTenant(ctx context.Context, w *Work) (string, error) {
	w.memory.Declaring = true
	if err := w.remember(ctx); err != nil {
		return "", err
	}
	c := w.ofTenant()
	c.Add = []byte(w.env.Document)
	commit, err := w.rooms.Declarations.Declare(ctx, c, w.saying("%s: tenant %s, from %s", w.rollout.Environment, w.tenant.Name, w.env.Template.Name))
	w.fault("inside:declare")
	if err != nil {
		if errors.Is(err, estate.ErrDeclared) || len(estate.Problems(err)) > 0 {
			return "", failed("the estate has changed meanwhile: %w", err)
		}
		return "", fmt.Errorf("write the tenant into the estate: %w", err)
	}
	return declared(commit), nil
}

func declared(commit string) string {
	if commit == "" {
		return "written into the estate's folder"
	}
	return fmt.Sprintf("commit %.10s", commit)
}

// undeclareTenant takes out what declareTenant has written, and nothing that somebody has written over it.
func undeclareTenant(ctx context.Context, w *Work) (string, error) {
	c := w.ofTenant()
	c.Remove = true
	if !w.memory.Declaring {
		return "nothing was written", nil
	}
	out, err := w.rooms.Declarations.Try(ctx, c)
	switch {
	case errors.Is(err, estate.ErrUndeclared):
		return "the estate does not have it", nil
	case err != nil:
		return "", err
	case string(out.Taken) != w.env.Document:
		return "somebody has changed the tenant's document meanwhile; it stays in " + out.File, nil
	}
	commit, err := w.rooms.Declarations.Declare(ctx, c, w.saying("%s: tenant %s could not be made", w.rollout.Environment, w.tenant.Name))
	if errors.Is(err, estate.ErrUndeclared) {
		err = nil
	}
	return "taken out of the estate; " + declared(commit), err
}

// unrecord takes the tenant off the pool that was recorded as its own.
func unrecord(ctx context.Context, w *Work) (string, error) {
	if err := w.changeTenant(ctx, func(t *store.Tenant) {
		t.ServingRelease = ""
		t.Live.Stable, t.Live.Cron, t.Live.Access = "", "", nil
	}); err != nil {
		return "", err
	}
	return "", w.tellRouter(ctx, w.place, w.rollout.Environment)
}

// forgetTenant leaves nothing behind of a tenant that could not be made.
func forgetTenant(ctx context.Context, w *Work) (string, error) {
	gone, err := w.rooms.Store.ForgetTenant(ctx, w.rollout.Environment, w.rollout.Tenant, w.lease)
	if err != nil || !gone {
		return "", err
	}
	return "", w.tellRouter(ctx, w.place, w.rollout.Environment)
}
