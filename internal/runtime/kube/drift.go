package kube

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	apiwatch "k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/workqueue"

	"github.com/waybill-dev/waybill/internal/drift"
)

const (
	// sweepEvery is how often everything is listed and looked at afresh, whatever the watches have told.
	sweepEvery = time.Hour
	// settlesIn is how long a change rests before it is looked at: many come in twos and threes.
	settlesIn = 300 * time.Millisecond
	// lookAgain is the longest pause before an object is looked at again that the cluster gave no answer about.
	lookAgain = 30 * time.Second
)

// Observer is told how what runs differs from what was declared.
type Observer interface {
	// Open names what was told to drift and not yet to be as declared again, by any process.
	Open(ctx context.Context, scope string) ([]drift.Object, error)
	// Found is told each finding when it is found or becomes another, and once again with each sweep; a finding without drift says
	// that the object is as declared again. heal: it shall be brought back now.
	Found(ctx context.Context, scope string, f drift.Finding) (heal bool, err error)
	// Healed is told what came of that.
	Healed(ctx context.Context, scope string, f drift.Finding, err error) error
}

// WatchDrift watches everything that was declared, until ctx is done. An object in which nobody has written costs no question: one whose
// fields are all still Waybill's is judged by what the watch has told, and only others by a dry run of what was applied.
func (r *Runtime) WatchDrift(ctx context.Context, to Observer) error {
	if r.opt.Keeper == nil {
		return errors.New("kubernetes runtime: nothing keeps what was declared")
	}
	w := &watch{r: r, to: to, examined: map[drift.Object]examined{}}
	for ctx.Err() == nil {
		if err := w.turn(ctx); err != nil && ctx.Err() == nil {
			r.log.WarnContext(ctx, "watch for drift", "error", err)
			_ = wait(ctx, 5*time.Second)
		}
	}
	return nil
}

// watch is one process's look at the cluster.
type watch struct {
	r     *Runtime
	to    Observer
	scope string

	queue  workqueue.TypedRateLimitingInterface[drift.Object]
	stores map[string]cache.Store // by kind

	mu       sync.Mutex
	told     map[drift.Object]string   // what the observer was told of it last, in this turn; empty: nothing drifts
	examined map[drift.Object]examined // what a dry run has found
}

// examined is what was found of an object as it was then.
type examined struct {
	fingerprint string
	declared    Declared
	finding     drift.Finding
}

// turn watches for as long as one sweep is good for: it begins with a list of everything.
func (w *watch) turn(ctx context.Context) (err error) {
	if w.scope, err = w.r.scope(ctx); err != nil {
		return err
	}
	open, err := w.to.Open(ctx, w.scope)
	if err != nil {
		return err
	}
	w.told = map[drift.Object]string{}
	for _, o := range open {
		w.told[o] = "an earlier finding"
	}
	ctx, cancel := context.WithTimeout(ctx, sweepEvery)
	defer cancel()
	w.queue = workqueue.NewTypedRateLimitingQueue(workqueue.NewTypedItemExponentialFailureRateLimiter[drift.Object](settlesIn, lookAgain))
	w.stores = map[string]cache.Store{}
	var watching sync.WaitGroup
	defer watching.Wait()
	defer cancel() // before the wait for their end
	var synced []cache.InformerSynced
	for _, kind := range w.r.watched() {
		informer := w.r.informer(kind)
		if err := informer.SetWatchErrorHandlerWithContext(w.failed(kind)); err != nil {
			return err
		}
		if _, err := informer.AddEventHandler(w.handler()); err != nil {
			return err
		}
		w.stores[kind] = informer.GetStore()
		synced = append(synced, informer.HasSynced)
		watching.Go(func() { informer.RunWithContext(ctx) })
	}
	if !cache.WaitForCacheSync(ctx.Done(), synced...) {
		return nil // the sweep's hour was over before, or the server ends
	}
	kept, err := w.r.opt.Keeper.Kept(ctx, w.scope)
	if err != nil {
		return err
	}
	for _, d := range kept {
		w.queue.Add(d.Object)
	}
	for _, o := range open {
		w.queue.Add(o)
	}
	var all sync.WaitGroup
	for range 2 {
		all.Go(func() { w.work(ctx) })
	}
	<-ctx.Done()
	w.queue.ShutDown()
	all.Wait()
	return nil
}

func resourceOf(kind string) schema.GroupVersionResource {
	res := resources[kind]
	return schema.GroupVersionResource{Group: res.group, Version: res.version, Resource: res.plural}
}

// informer watches what Waybill has declared of a kind. Not dynamicinformer's, which brings client-go's clients for every kind that
// Kubernetes knows: 13 MB of program, and half the time of every start of it.
func (r *Runtime) informer(kind string) cache.SharedIndexInformer {
	all := r.api.Resource(resourceOf(kind))
	only := labels{}.selector(r.opt.Prefix)
	lister := &cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
			o.LabelSelector = only
			return all.List(ctx, o)
		},
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (apiwatch.Interface, error) {
			o.LabelSelector = only
			return all.Watch(ctx, o)
		},
	}
	return cache.NewSharedIndexInformerWithOptions(cache.ToListWatcherWithWatchListSemantics(lister, r.api), &unstructured.Unstructured{},
		cache.SharedIndexInformerOptions{ObjectDescription: resourceOf(kind).String()})
}

// failed tells that a watch has ended in an error; it is begun anew by itself.
func (w *watch) failed(kind string) cache.WatchErrorHandlerWithContext {
	return func(ctx context.Context, _ *cache.Reflector, err error) {
		if ctx.Err() == nil {
			w.r.log.WarnContext(ctx, "watch for drift", "kind", kind, "error", w.r.fault(err, "watch %s", resources[kind].plural))
		}
	}
}

func (w *watch) handler() cache.ResourceEventHandler {
	later := func(o any) {
		if gone, ok := o.(cache.DeletedFinalStateUnknown); ok {
			o = gone.Obj
		}
		if u, ok := o.(*unstructured.Unstructured); ok {
			w.queue.AddAfter(drift.Of(u), settlesIn)
		}
	}
	return cache.ResourceEventHandlerFuncs{
		AddFunc: later, DeleteFunc: later,
		UpdateFunc: func(before, now any) {
			b, bok := before.(*unstructured.Unstructured)
			n, nok := now.(*unstructured.Unstructured)
			if bok && nok && drift.Fingerprint(b) == drift.Fingerprint(n) {
				return // its status alone
			}
			later(now)
		},
	}
}

func (w *watch) work(ctx context.Context) {
	for {
		o, done := w.queue.Get()
		if done {
			return
		}
		err := w.look(ctx, o)
		switch {
		case err == nil:
			w.queue.Forget(o)
		case errors.Is(err, errBusy):
			w.queue.AddAfter(o, settlesIn)
		case ctx.Err() == nil:
			w.r.log.WarnContext(ctx, "look whether it is as declared", "object", o.String(), "error", err)
			w.queue.AddRateLimited(o)
		}
		w.queue.Done(o)
	}
}

// errBusy says that an object is being written by this process, or was meanwhile.
var errBusy = errors.New("it is being written")

// look finds out what differs of an object, and tells.
func (w *watch) look(ctx context.Context, o drift.Object) error {
	declared, kept, err := w.kept(ctx, o)
	if err != nil {
		return err
	}
	f := drift.Finding{Object: o, Environment: declared.Environment}
	if kept {
		if f, err = w.compare(ctx, declared); err != nil {
			return err
		}
		// What was declared otherwise in the meantime, or is no more, is looked at again.
		now, still, err := w.kept(ctx, o)
		if err != nil {
			return err
		}
		if !still || !now.same(declared) {
			return errBusy
		}
	}
	return w.tell(ctx, f)
}

func (w *watch) kept(ctx context.Context, o drift.Object) (Declared, bool, error) {
	if w.r.hands.busy(o) {
		return Declared{}, false, errBusy
	}
	return w.r.opt.Keeper.KeptOne(ctx, w.scope, o)
}

// tell tells the observer what it does not know yet, and heals where it says so.
func (w *watch) tell(ctx context.Context, f drift.Finding) error {
	says := ""
	if f.Drifts() {
		says = f.String()
	}
	w.mu.Lock()
	before, told := w.told[f.Object]
	w.mu.Unlock()
	if before == says && (told || says == "") {
		return nil
	}
	heal, err := w.to.Found(ctx, w.scope, f)
	if err != nil {
		return err
	}
	w.mu.Lock()
	w.told[f.Object] = says
	w.mu.Unlock()
	if says == "" && f.Object.Kind == kindNamespace {
		return w.again(ctx, f.Object.Name) // what was in it when it was deleted
	}
	if !heal {
		return nil
	}
	err = w.r.heal(ctx, f.Object)
	w.mu.Lock()
	w.told[f.Object] = "healed" // it is looked at again, and told what it is then
	w.mu.Unlock()
	if terr := w.to.Healed(ctx, w.scope, f, err); terr != nil {
		return terr
	}
	if err == nil {
		w.queue.AddAfter(f.Object, settlesIn)
	}
	return nil
}

// again looks at everything in a namespace.
func (w *watch) again(ctx context.Context, namespace string) error {
	kept, err := w.r.opt.Keeper.Kept(ctx, w.scope)
	for _, d := range kept {
		if d.Object.Namespace == namespace {
			w.queue.Add(d.Object)
		}
	}
	return err
}

// compare finds out what differs of an object from what was declared.
func (w *watch) compare(ctx context.Context, declared Declared) (drift.Finding, error) {
	f := drift.Finding{Object: declared.Object, Environment: declared.Environment}
	live, err := w.live(ctx, declared.Object)
	if err != nil {
		return f, err
	}
	switch {
	case live == nil && w.goesWithNamespace(declared.Object):
		return f, nil
	case live == nil:
		f.Deleted = true
		return f, nil
	case live.GetDeletionTimestamp() != nil:
		return f, nil // its end is told
	}
	fingerprint := drift.Fingerprint(live)
	if fingerprint == declared.Fingerprint {
		return f, nil
	}
	w.mu.Lock()
	before, known := w.examined[declared.Object]
	w.mu.Unlock()
	if known && before.fingerprint == fingerprint && before.declared.same(declared) {
		return before.finding, nil
	}
	applied, err := drift.Applied(manager, live)
	if err != nil {
		return f, err
	}
	if applied != "" && applied == declared.Applied {
		f.Changes, err = drift.Additions(manager, live)
	} else {
		f.Changes, f.Problem, err = w.dryRun(ctx, declared, live)
	}
	if err != nil {
		return f, err
	}
	f.Changes = slices.DeleteFunc(f.Changes, func(c drift.Change) bool { return othersOwn(declared.Object.Kind, c) })
	w.mu.Lock()
	w.examined[declared.Object] = examined{fingerprint: fingerprint, declared: declared, finding: f}
	w.mu.Unlock()
	return f, nil
}

// othersOwn says whether a change is a matter of others: a namespace's annotations are where many keep their notes, and a count of
// replicas that is not declared is an autoscaler's, which corrects it.
func othersOwn(kind string, c drift.Change) bool {
	if kind == kindDeployment && c.Kind == drift.Added && c.Path == ".spec.replicas" {
		return true
	}
	return kind == kindNamespace && c.Kind == drift.Added && strings.HasPrefix(c.Path, ".metadata.annotations") && !digestsNote(c.Path)
}

// digestsNote says whether it is the list of images that may run in a namespace, which is patched and never applied.
func digestsNote(path string) bool {
	return path == fmt.Sprintf(".metadata.annotations[%q]", noteDigests)
}

// dryRun asks the cluster what would be there if nobody else had touched it.
func (w *watch) dryRun(ctx context.Context, declared Declared, live *unstructured.Unstructured) (changes []drift.Change, problem string, err error) {
	manifest := &unstructured.Unstructured{}
	if err := json.Unmarshal(declared.Manifest, &manifest.Object); err != nil {
		return nil, "", fmt.Errorf("what was declared of %s does not parse: %w", declared.Object, err)
	}
	o := declared.Object
	wanted, err := w.r.of(o.Kind, o.Namespace).Apply(ctx, o.Name, manifest, metav1.ApplyOptions{FieldManager: manager, Force: true, DryRun: []string{metav1.DryRunAll}})
	switch {
	case err == nil:
		changes, err = drift.Compare(manager, live, wanted)
		return changes, "", err
	case away(err) || ctx.Err() != nil || !refused(err):
		return nil, "", w.r.fault(err, "dry run of %s", o)
	}
	// Somebody made it so that what was declared can no longer be applied: a field that may not be changed back, a policy.
	return nil, "what was declared would be refused now: " + w.r.fault(err, "dry run").Error(), nil
}

func refused(err error) bool {
	return apierrors.IsInvalid(err) || apierrors.IsForbidden(err) || apierrors.IsBadRequest(err)
}

// live is the object as the watch has told it; one that the watch does not show is asked for, since it may have lost its labels only.
func (w *watch) live(ctx context.Context, o drift.Object) (*unstructured.Unstructured, error) {
	store, ok := w.stores[o.Kind]
	if !ok {
		return nil, fmt.Errorf("%s is of a kind that is not watched", o)
	}
	key := o.Name
	if o.Namespace != "" {
		key = o.Namespace + "/" + o.Name
	}
	if found, there, err := store.GetByKey(key); err != nil {
		return nil, err
	} else if u, ok := found.(*unstructured.Unstructured); there && ok {
		return u, nil
	}
	if w.goesWithNamespace(o) {
		return nil, nil
	}
	live, err := w.r.of(o.Kind, o.Namespace).Get(ctx, o.Name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	return live, w.r.fault(err, "look up %s", o)
}

// goesWithNamespace says whether the object's namespace is gone, or goes: then that is what there is to tell.
func (w *watch) goesWithNamespace(o drift.Object) bool {
	if o.Namespace == "" {
		return false
	}
	found, there, err := w.stores[kindNamespace].GetByKey(o.Namespace)
	n, ok := found.(*unstructured.Unstructured)
	return err == nil && (!there || ok && n.GetDeletionTimestamp() != nil)
}

// heal brings an object back to what was declared: by force what was changed, and what was added goes.
func (r *Runtime) heal(ctx context.Context, o drift.Object) error {
	defer r.hands.put(o)()
	scope, err := r.scope(ctx)
	if err != nil {
		return err
	}
	declared, kept, err := r.opt.Keeper.KeptOne(ctx, scope, o)
	if err != nil || !kept {
		return err
	}
	manifest := &unstructured.Unstructured{}
	if err := json.Unmarshal(declared.Manifest, &manifest.Object); err != nil {
		return fmt.Errorf("what was declared of %s does not parse: %w", o, err)
	}
	forced := manifest
	if o.Kind == kindDeployment {
		before, err := r.of(o.Kind, o.Namespace).Get(ctx, o.Name, metav1.GetOptions{})
		if err != nil && !apierrors.IsNotFound(err) {
			return r.fault(err, "heal %s", o)
		}
		if err == nil && drift.Scaled(before) { // what an autoscaler has set stays
			forced = manifest.DeepCopy()
			unstructured.RemoveNestedField(forced.Object, "spec", "replicas")
		}
	}
	live, err := r.of(o.Kind, o.Namespace).Apply(ctx, o.Name, forced, metav1.ApplyOptions{FieldManager: manager, Force: true})
	if err != nil {
		return r.fault(err, "heal %s", o)
	}
	added, err := drift.Additions(manager, live)
	if err != nil {
		return err
	}
	added = slices.DeleteFunc(added, func(c drift.Change) bool { return othersOwn(o.Kind, c) })
	patch, left, err := drift.Remove(added, live, digestsNote)
	if err != nil {
		return err
	}
	if patch != nil {
		if live, err = r.of(o.Kind, o.Namespace).Patch(ctx, o.Name, types.JSONPatchType, patch, metav1.PatchOptions{FieldManager: manager}); err != nil {
			return r.fault(err, "heal %s", o)
		}
	}
	if left {
		return fmt.Errorf("the annotation %s of namespace %s was written by somebody else: take away the digests that Waybill has not verified", noteDigests, o.Name)
	}
	return r.keep(ctx, manifest, live)
}
