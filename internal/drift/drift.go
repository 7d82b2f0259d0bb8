// Package drift compares what Waybill has declared in a cluster with what is there: each field that somebody else changed, took away or
// added, and who. It is pure: whoever watches a cluster asks the API server for a dry-run of what Applied and Fingerprint do not already
// tell to be as declared, and for nothing else.
package drift

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"
)

// Kind says what became of a field.
type Kind string

// The kinds of change.
const (
	Changed Kind = "changed" // it is declared, and has another value
	Removed Kind = "removed" // it is declared, and is not there
	Added   Kind = "added"   // it is there, and not declared; only what somebody wrote counts, not what the server fills in
)

// Change is one field that is not as declared.
type Change struct {
	Kind     Kind      `json:"kind"`
	Path     string    `json:"path"`               // .spec.template.spec.containers[name="app"].image
	Declared string    `json:"declared,omitempty"` // as JSON, shortened; never of a Secret
	Live     string    `json:"live,omitempty"`     // likewise
	Owner    string    `json:"owner"`              // field manager: kubectl-edit, argocd-controller …; of a field that was removed, who wrote last; empty: nobody says
	Way      string    `json:"way,omitempty"`      // how the owner writes: Update, Apply, or Update of a subresource, as in Update scale
	At       time.Time `json:"at,omitzero"`        // when the owner wrote last

	path fieldpath.Path
}

// String is the change as people are told of it.
func (c Change) String() string {
	what := ""
	switch c.Kind {
	case Changed:
		what = c.Path + " is " + c.Live + " and not " + c.Declared
	case Removed:
		what = c.Path + " was taken away"
		if c.Declared != "" {
			what += "; declared is " + c.Declared
		}
	case Added:
		what = c.Path + " was added"
		if c.Live != "" {
			what += ": " + c.Live
		}
	}
	if c.Owner == "" {
		return what + " (nobody owns the field)"
	}
	by := what + " (" + c.Owner + ", " + c.Way
	if !c.At.IsZero() { // of a scale the cluster notes no time
		by += ", " + c.At.Format(time.DateTime)
	}
	return by + ")"
}

// Object is which object.
type Object struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Namespace  string `json:"namespace,omitempty"`
	Name       string `json:"name"`
}

// String is the object as people name it: Deployment shop/web.
func (o Object) String() string {
	if o.Namespace == "" {
		return o.Kind + " " + o.Name
	}
	return o.Kind + " " + o.Namespace + "/" + o.Name
}

// Of is the name of an object.
func Of(o *unstructured.Unstructured) Object {
	return Object{APIVersion: o.GetAPIVersion(), Kind: o.GetKind(), Namespace: o.GetNamespace(), Name: o.GetName()}
}

// controllers write fields of their own into others' objects, as part of what the cluster is.
var controllers = []string{"kube-controller-manager", "kube-scheduler", "kubelet", "kube-apiserver"}

// Compare tells how a live object differs from what is declared of it. applied is the API server's answer to a dry-run, server-side
// apply of the declared object by manager, with force: what would be there if nobody else had touched it. Fields that manager does not
// declare and nobody wrote (defaults, status, what controllers fill in) are no matter.
func Compare(manager string, live, applied *unstructured.Unstructured) ([]Change, error) {
	declared, err := appliedBy(manager, applied)
	if err != nil {
		return nil, err
	}
	own, err := appliedBy(manager, live)
	if err != nil {
		return nil, err
	}
	others, err := ownersOf(live, manager)
	if err != nil {
		return nil, err
	}
	secret := live.GetKind() == "Secret"
	var changes []Change
	seen := map[string]bool{}
	add := func(c Change) {
		if key := string(c.Kind) + c.Path; !seen[key] {
			seen[key] = true
			changes = append(changes, c)
		}
	}
	declared.Leaves().Iterate(func(p fieldpath.Path) {
		if bookkeeping(p) {
			return
		}
		p = p.Copy()
		want, _ := value(applied.Object, p)
		have, there := value(live.Object, p)
		switch {
		case there && equal(want, have):
		case there:
			c := Change{Kind: Changed, Path: say(p), Declared: show(want, secret), Live: show(have, secret), path: p}
			o, known := others.of(p)
			if known && (o.manager == manager || scaled(o, p)) || !known && covered(own, p) {
				return // by manager itself since, or by whom it was left to
			}
			c.Owner, c.Way, c.At = o.manager, o.way, o.at
			add(c)
		default:
			p = outermost(live.Object, p)
			want, _ = value(applied.Object, p)
			c := Change{Kind: Removed, Path: say(p), Declared: show(want, secret), path: p}
			o := others.last(manager)
			c.Owner, c.Way, c.At = o.manager, o.way, o.at
			add(c)
		}
	})
	for _, o := range others {
		if o.manager == manager || slices.Contains(controllers, o.manager) || o.subresource != "" {
			continue
		}
		o.fields.Leaves().Iterate(func(p fieldpath.Path) {
			if _, there := value(live.Object, p); !there || bookkeeping(p) || covered(declared, p) {
				return
			}
			p = p.Copy()
			if _, there := value(applied.Object, p); !there { // what a forced apply would take away is part of a change above
				return
			}
			p = outside(declared, p)
			have, _ := value(live.Object, p)
			add(Change{Kind: Added, Path: say(p), Live: show(have, secret), Owner: o.manager, Way: o.way, At: o.at, path: p})
		})
	}
	slices.SortFunc(changes, func(a, b Change) int { return cmp.Or(cmp.Compare(a.Path, b.Path), cmp.Compare(a.Kind, b.Kind)) })
	return changes, nil
}

// outermost is the beginning of a path that is not there: of a container that was removed, the container.
func outermost(in any, p fieldpath.Path) fieldpath.Path {
	for n := 1; n < len(p); n++ {
		if _, there := value(in, p[:n]); !there {
			return p[:n]
		}
	}
	return p
}

// outside is the beginning of a path of which nothing is declared: of a container that was added, the container.
func outside(declared *fieldpath.Set, p fieldpath.Path) fieldpath.Path {
	for n := 3; n < len(p); n++ { // not the labels or the spec as a whole
		part := false
		declared.Iterate(func(q fieldpath.Path) { part = part || len(q) >= n && q[:n].Equals(p[:n]) })
		if !part {
			return p[:n]
		}
	}
	return p
}

// bookkeeping is what the server itself writes of an object.
func bookkeeping(p fieldpath.Path) bool {
	if len(p) == 0 || p[0].FieldName == nil {
		return true
	}
	switch *p[0].FieldName {
	case "status", "apiVersion", "kind":
		return true
	case "metadata":
		// Of the metadata labels, annotations and finalizers are somebody's; who owns an object is the cluster's matter.
		return len(p) < 2 || p[1].FieldName == nil || !slices.Contains([]string{"labels", "annotations", "finalizers"}, *p[1].FieldName)
	}
	return false
}

// covered says whether the set has the field, or the whole that it is part of.
func covered(set *fieldpath.Set, p fieldpath.Path) bool {
	for n := len(p); n > 0; n-- {
		if set.Has(p[:n]) && (n == len(p) || set.Leaves().Has(p[:n])) {
			return true
		}
	}
	return false
}

// owner is one field manager of an object, with one way of writing.
type owner struct {
	manager, subresource, way string
	at                        time.Time
	fields                    *fieldpath.Set
}

type owners []owner

// appliedBy are the fields of which an object says that manager has applied them.
func appliedBy(manager string, o *unstructured.Unstructured) (*fieldpath.Set, error) {
	for _, entry := range o.GetManagedFields() {
		if entry.Manager != manager || entry.Operation != metav1.ManagedFieldsOperationApply || entry.Subresource != "" {
			continue
		}
		set, err := setOf(entry)
		if err != nil {
			return nil, fmt.Errorf("%s: fields of %s: %w", Of(o), entry.Manager, err)
		}
		return set, nil
	}
	return &fieldpath.Set{}, nil
}

// Applied is a sum of the fields that manager has applied; empty: none. Whoever changes or removes one of them takes it from manager,
// so that as long as the sum is what it was after an apply, every field has the value that was applied.
func Applied(manager string, o *unstructured.Unstructured) (string, error) {
	set, err := appliedBy(manager, o)
	if err != nil || set.Empty() {
		return "", err
	}
	raw, err := set.ToJSON()
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(raw)
	return hex.EncodeToString(sum[:]), nil
}

// Additions are the fields that others have added to an object all of whose declared fields are as declared.
func Additions(manager string, live *unstructured.Unstructured) ([]Change, error) {
	return Compare(manager, live, live)
}

// scaled says whether it is a count of replicas that an autoscaler of the cluster has set: that is what an autoscaler is for.
func scaled(o owner, p fieldpath.Path) bool {
	return o.manager == "kube-controller-manager" && o.subresource == "scale" && say(p) == ".spec.replicas"
}

// Scaled says whether an autoscaler of the cluster has set an object's count of replicas.
func Scaled(o *unstructured.Unstructured) bool {
	all, err := ownersOf(o, "")
	if err != nil {
		return false
	}
	replicas := fieldpath.MakePathOrDie("spec", "replicas")
	by, known := all.of(replicas)
	return known && scaled(by, replicas)
}

// ownersOf are all but what manager has applied, the one that wrote last first.
func ownersOf(o *unstructured.Unstructured, manager string) (all owners, err error) {
	for _, entry := range o.GetManagedFields() {
		if entry.Manager == manager && entry.Operation == metav1.ManagedFieldsOperationApply && entry.Subresource == "" {
			continue
		}
		set, err := setOf(entry)
		if err != nil {
			return nil, fmt.Errorf("%s: fields of %s: %w", Of(o), entry.Manager, err)
		}
		w := owner{manager: entry.Manager, subresource: entry.Subresource, way: strings.TrimSpace(string(entry.Operation) + " " + entry.Subresource), fields: set}
		if entry.Time != nil {
			w.at = entry.Time.UTC()
		}
		all = append(all, w)
	}
	slices.SortStableFunc(all, func(a, b owner) int { return b.at.Compare(a.at) })
	return all, nil
}

// of is who owns a field, or the whole that it is part of, or, of something that is a whole itself, a part of it.
func (all owners) of(p fieldpath.Path) (owner, bool) {
	for _, o := range all {
		if covered(o.fields, p) {
			return o, true
		}
	}
	for _, o := range all {
		part := false
		o.fields.Iterate(func(q fieldpath.Path) { part = part || len(q) >= len(p) && q[:len(p)].Equals(p) })
		if part {
			return o, true
		}
	}
	return owner{}, false
}

// last is who wrote last, but for manager and what the cluster itself does.
func (all owners) last(manager string) owner {
	for _, o := range all {
		if o.manager != manager && o.subresource == "" && !slices.Contains(controllers, o.manager) {
			return o
		}
	}
	return owner{}
}

func setOf(entry metav1.ManagedFieldsEntry) (*fieldpath.Set, error) {
	set := &fieldpath.Set{}
	if entry.FieldsV1 == nil {
		return set, nil
	}
	return set, set.FromJSON(entry.FieldsV1.GetRawReader())
}

// say writes a path as people do.
func say(p fieldpath.Path) string {
	var b strings.Builder
	for _, e := range p {
		switch {
		case e.FieldName != nil && strings.ContainsAny(*e.FieldName, "./ "):
			fmt.Fprintf(&b, "[%q]", *e.FieldName)
		case e.FieldName != nil:
			b.WriteString("." + *e.FieldName)
		case e.Key != nil:
			var keys []string
			for _, k := range *e.Key {
				keys = append(keys, fmt.Sprintf("%s=%s", k.Name, text(k.Value.Unstructured())))
			}
			b.WriteString("[" + strings.Join(keys, ",") + "]")
		case e.Value != nil:
			b.WriteString("[" + text((*e.Value).Unstructured()) + "]")
		case e.Index != nil:
			fmt.Fprintf(&b, "[%d]", *e.Index)
		}
	}
	return b.String()
}

// shownMost is how much of a value is shown, in bytes.
const shownMost = 200

func show(v any, secret bool) string {
	if v == nil {
		return ""
	}
	if secret {
		return "(not shown)"
	}
	s := text(v)
	if len(s) > shownMost {
		s = strings.ToValidUTF8(s[:shownMost], "") + "…"
	}
	return s
}

func text(v any) string {
	raw, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprint(v)
	}
	return string(raw)
}

// equal compares as JSON: a number is one, whatever it was read as.
func equal(a, b any) bool { return text(a) == text(b) }

// Fingerprint is the same for objects in which nobody has written anything but their status.
func Fingerprint(o *unstructured.Unstructured) string {
	content := map[string]any{}
	for k, v := range o.Object {
		if k != "status" && k != "metadata" {
			content[k] = v
		}
	}
	content["metadata"] = []any{o.GetLabels(), o.GetAnnotations(), o.GetFinalizers(), o.GetUID(), o.GetDeletionTimestamp() != nil}
	sum := sha256.Sum256([]byte(text(content)))
	return hex.EncodeToString(sum[:])
}

// Remove is a JSON patch that takes away what others have added, and changes nothing where the object is another by now; nil: there is
// nothing to take away. What keep names stays, and left says so.
func Remove(changes []Change, live *unstructured.Unstructured, keep func(path string) bool) (patch []byte, left bool, err error) {
	ops := []map[string]any{{"op": "test", "path": "/metadata/resourceVersion", "value": live.GetResourceVersion()}}
	for _, c := range changes {
		if c.Kind != Added {
			continue
		}
		if keep(c.Path) {
			left = true
			continue
		}
		if at, there := pointer(live.Object, c.path); there {
			ops = append(ops, map[string]any{"op": "remove", "path": at})
		}
	}
	if len(ops) == 1 {
		return nil, left, nil
	}
	// Of a list, the last item first: what is before it stays where it is.
	slices.SortStableFunc(ops[1:], func(a, b map[string]any) int { return comparePointers(b["path"].(string), a["path"].(string)) })
	patch, err = json.Marshal(ops)
	return patch, left, err
}
