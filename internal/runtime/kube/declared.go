package kube

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/waybill-dev/waybill/internal/drift"
)

// Declared is an object as Waybill applied it last.
type Declared struct {
	Object      drift.Object
	Environment string // empty: it is the whole cluster's
	Manifest    []byte // as JSON; of a Secret with its values
	Applied     string // drift.Applied of the cluster's answer; empty: it was created, and no field is known as applied
	Fingerprint string // drift.Fingerprint of that answer
}

// same says whether the two declare the same thing.
func (d Declared) same(as Declared) bool {
	return d.Object == as.Object && d.Applied == as.Applied && d.Fingerprint == as.Fingerprint && bytes.Equal(d.Manifest, as.Manifest)
}

// Keeper keeps what was declared in a cluster, outside of it: whoever deletes an object must not be able to delete what it was. scope
// names the cluster and the Waybill; what is kept holds secrets.
type Keeper interface {
	Keep(ctx context.Context, scope string, d Declared) error
	Kept(ctx context.Context, scope string) ([]Declared, error)
	KeptOne(ctx context.Context, scope string, o drift.Object) (d Declared, found bool, err error)
	Drop(ctx context.Context, scope string, o drift.Object) error
	DropNamespace(ctx context.Context, scope, namespace string) error // itself too
}

// watched are the kinds of which it is kept what was declared, and that are looked after.
func (r *Runtime) watched() []string {
	all := []string{kindNamespace, kindDeployment, kindService, kindSecret, kindConfigMap, kindAccount, kindQuota, kindLimits, kindPolicy, kindDisruption, kindAutoscaler, kindAdmission, kindBinding}
	if r.opt.Traefik.Namespace != "" {
		all = append(all, kindIngressRoute, kindMiddleware)
		if r.opt.Traefik.Issuer != "" {
			all = append(all, kindCertificate)
		}
	}
	return all
}

// hands are the objects that this process has its hands on just now: between an apply and its record nobody else may judge them.
type hands struct {
	mu   sync.Mutex
	on   map[drift.Object]int
	name string // of the cluster and this Waybill; empty: not asked yet
}

func (h *hands) put(o drift.Object) (away func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.on == nil {
		h.on = map[drift.Object]int{}
	}
	h.on[o]++
	return func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		if h.on[o]--; h.on[o] == 0 {
			delete(h.on, o)
		}
	}
}

func (h *hands) busy(o drift.Object) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.on[o] > 0
}

// scope names the cluster, by what it has from its first day to its last, and this Waybill in it.
func (r *Runtime) scope(ctx context.Context) (string, error) {
	r.hands.mu.Lock()
	name := r.hands.name
	r.hands.mu.Unlock()
	if name != "" {
		return name, nil
	}
	o, err := r.of(kindNamespace, "").Get(ctx, "kube-system", metav1.GetOptions{})
	if err != nil {
		return "", r.fault(err, "find out which cluster this is")
	}
	name = string(o.GetUID()) + "/" + r.opt.Prefix
	r.hands.mu.Lock()
	defer r.hands.mu.Unlock()
	r.hands.name = name
	return name, nil
}

// keeps says whether it is kept what was declared of a kind.
func (r *Runtime) keeps(kind string) bool {
	return r.opt.Keeper != nil && slices.Contains(r.watched(), kind)
}

// keep writes down what was declared, and what the cluster made of it.
func (r *Runtime) keep(ctx context.Context, declared, answer *unstructured.Unstructured) error {
	if !r.keeps(declared.GetKind()) {
		return nil
	}
	scope, err := r.scope(ctx)
	if err != nil {
		return err
	}
	manifest := declared.DeepCopy()
	manifest.SetResourceVersion("") // of one apply
	raw, err := json.Marshal(manifest.Object)
	if err != nil {
		return err
	}
	applied, err := drift.Applied(manager, answer)
	if err != nil {
		return err
	}
	d := Declared{Object: drift.Of(declared), Environment: declared.GetLabels()[labelEnvironment], Manifest: raw, Applied: applied, Fingerprint: drift.Fingerprint(answer)}
	if err := r.opt.Keeper.Keep(ctx, scope, d); err != nil {
		return fmt.Errorf("keep what was declared of %s: %w", d.Object, err)
	}
	return nil
}

// forget drops what was declared of an object that is going to be removed.
func (r *Runtime) forget(ctx context.Context, kind, namespace, name string) error {
	if !r.keeps(kind) {
		return nil
	}
	scope, err := r.scope(ctx)
	if err != nil {
		return err
	}
	if kind == kindNamespace {
		return r.opt.Keeper.DropNamespace(ctx, scope, name)
	}
	return r.opt.Keeper.Drop(ctx, scope, objectOf(kind, namespace, name))
}

// objectOf names an object as drift.Of does.
func objectOf(kind, namespace, name string) drift.Object {
	res := resources[kind]
	version := res.version
	if res.group != "" {
		version = res.group + "/" + version
	}
	return drift.Object{APIVersion: version, Kind: kind, Namespace: namespace, Name: name}
}
