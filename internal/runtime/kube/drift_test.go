package kube

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	k8slabels "k8s.io/apimachinery/pkg/labels"
	k8s "k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/managedfields"
	"k8s.io/client-go/rest"

	"github.com/waybill-dev/waybill/internal/drift"
	"github.com/waybill-dev/waybill/internal/runtime"
)

// apiServer lists, watches, gives, applies and deletes objects, with the real rules of who owns which field.
type apiServer struct {
	*httptest.Server
	mu       sync.Mutex
	version  int
	objects  map[string]*unstructured.Unstructured // by path
	watchers map[chan metav1.WatchEvent]string     // by path of the kind
	log      []logged
	asked    []string // but for lists and watches
}

// logged is an event of the past, for whoever lists and then watches.
type logged struct {
	version int
	all     string // path of the kind
	event   metav1.WatchEvent
}

func newAPIServer(t *testing.T) *apiServer {
	t.Helper()
	s := &apiServer{version: 1, objects: map[string]*unstructured.Unstructured{}, watchers: map[chan metav1.WatchEvent]string{}}
	s.Server = httptest.NewServer(http.HandlerFunc(s.serve))
	t.Cleanup(func() {
		s.CloseClientConnections()
		s.Close()
	})
	return s
}

// kindAt is the kind and the path of all its objects that a path names, and the object's namespace and name.
func kindAt(path string) (kind, all, namespace, name string, ok bool) {
	for k, res := range resources {
		root := "/api/" + res.version
		if res.group != "" {
			root = "/apis/" + res.group + "/" + res.version
		}
		rest, found := strings.CutPrefix(path, root+"/")
		if !found {
			continue
		}
		parts := strings.Split(rest, "/")
		if len(parts) >= 3 && parts[0] == "namespaces" && parts[2] == res.plural {
			namespace, parts = parts[1], parts[2:]
		}
		if parts[0] != res.plural || len(parts) > 2 {
			namespace = ""
			continue
		}
		if len(parts) == 2 {
			name = parts[1]
		}
		return k, root + "/" + res.plural, namespace, name, true
	}
	return "", "", "", "", false
}

func (s *apiServer) serve(w http.ResponseWriter, req *http.Request) {
	kind, all, namespace, name, ok := kindAt(req.URL.Path)
	q := req.URL.Query()
	asked, err := k8slabels.Parse(q.Get("labelSelector"))
	ok = ok && err == nil
	switch {
	case !ok || q.Get("sendInitialEvents") != "":
		answer(w, http.StatusBadRequest, map[string]any{"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "BadRequest", "code": 400})
	case name == "" && q.Get("watch") != "":
		s.watch(w, req, all)
	case name == "":
		s.mu.Lock()
		list := map[string]any{"kind": kind + "List", "apiVersion": apiVersion(kind), "metadata": map[string]any{"resourceVersion": fmt.Sprint(s.version)}}
		items := []any{}
		for _, o := range s.objects {
			if o.GetKind() == kind && (namespace == "" || o.GetNamespace() == namespace) && asked.Matches(k8slabels.Set(o.GetLabels())) {
				items = append(items, o.Object)
			}
		}
		list["items"] = items
		answer(w, http.StatusOK, list)
		s.mu.Unlock()
	default:
		s.one(w, req, kind)
	}
}

func apiVersion(kind string) string { return objectOf(kind, "", "").APIVersion }

func answer(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v)
}

func (s *apiServer) one(w http.ResponseWriter, req *http.Request, kind string) {
	body, _ := io.ReadAll(req.Body)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked = append(s.asked, strings.TrimSpace(req.Method+" "+req.URL.Path+" "+req.URL.Query().Get("dryRun")))
	live := s.objects[req.URL.Path]
	dry := req.URL.Query().Get("dryRun") != ""
	switch {
	case req.Method == http.MethodGet && live != nil:
		answer(w, http.StatusOK, live.Object)
	case req.Method == http.MethodPatch && req.Header.Get("Content-Type") == string(types.ApplyPatchType):
		o, err := s.applied(live, body, req.URL.Query().Get("fieldManager"), req.URL.Query().Get("force") == "true")
		if conflict := apierrors.APIStatus(nil); errors.As(err, &conflict) {
			status := conflict.Status()
			status.Kind, status.APIVersion = "Status", "v1"
			answer(w, int(status.Code), status)
			return
		}
		if err != nil {
			answer(w, http.StatusUnprocessableEntity, map[string]any{"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "Invalid", "code": 422, "message": err.Error()})
			return
		}
		if !dry {
			s.put(req.URL.Path, o)
		}
		answer(w, http.StatusOK, o.Object)
	case req.Method == http.MethodPatch && live != nil: // a JSON patch with removals of whole labels or annotations
		o := live.DeepCopy()
		var ops []struct{ Op, Path string }
		_ = json.Unmarshal(body, &ops)
		for _, op := range ops {
			if op.Op == "remove" {
				var at []string
				for _, part := range strings.Split(op.Path, "/")[1:] {
					at = append(at, strings.NewReplacer("~1", "/", "~0", "~").Replace(part))
				}
				unstructured.RemoveNestedField(o.Object, at...)
			}
		}
		s.put(req.URL.Path, s.written(live, o, req.URL.Query().Get("fieldManager")))
		answer(w, http.StatusOK, s.objects[req.URL.Path].Object)
	case req.Method == http.MethodDelete && live != nil:
		s.put(req.URL.Path, nil)
		answer(w, http.StatusOK, map[string]any{"kind": "Status", "apiVersion": "v1", "status": "Success"})
	default:
		answer(w, http.StatusNotFound, map[string]any{"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound", "code": 404, "details": map[string]any{"name": "x", "kind": kind}})
	}
}

// put makes it the object that there is, and tells those who watch. nil deletes it.
func (s *apiServer) put(path string, o *unstructured.Unstructured) {
	before := s.objects[path]
	s.version++
	event := metav1.WatchEvent{Type: "MODIFIED"}
	switch {
	case o == nil:
		delete(s.objects, path)
		event.Type, o = "DELETED", before.DeepCopy()
	default:
		if before == nil {
			event.Type = "ADDED"
			o.SetUID(types.UID(fmt.Sprint("uid-", s.version)))
		}
		s.objects[path] = o
	}
	o.SetResourceVersion(fmt.Sprint(s.version))
	raw, _ := json.Marshal(o.Object)
	event.Object = k8s.RawExtension{Raw: raw}
	_, all, _, _, _ := kindAt(path)
	s.log = append(s.log, logged{s.version, all, event})
	for c, at := range s.watchers {
		if at == all {
			c <- event
		}
	}
}

func (s *apiServer) watch(w http.ResponseWriter, req *http.Request, all string) {
	events := make(chan metav1.WatchEvent, 100)
	s.mu.Lock()
	s.watchers[events] = all
	since, _ := strconv.Atoi(req.URL.Query().Get("resourceVersion"))
	for _, e := range s.log {
		if e.all == all && e.version > since {
			events <- e.event
		}
	}
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.watchers, events)
	}()
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusOK)
	w.(http.Flusher).Flush()
	for {
		select {
		case e := <-events:
			_ = json.NewEncoder(w).Encode(e)
			w.(http.Flusher).Flush()
		case <-req.Context().Done():
			return
		}
	}
}

// owning are the rules of who owns a field, as API servers have them for kinds of which they know no schema.
func owning(kind, subresource string) *managedfields.FieldManager {
	gvk := schema.FromAPIVersionAndKind(apiVersion(kind), kind)
	m, err := managedfields.NewDefaultCRDFieldManager(managedfields.NewDeducedTypeConverter(), plain{}, plain{}, plain{}, gvk, gvk.GroupVersion(), subresource, nil)
	if err != nil {
		panic(err)
	}
	return m
}

// plain converts and defaults nothing.
type plain struct{}

func (plain) Convert(in, out, _ any) error { return fmt.Errorf("%T to %T", in, out) }
func (plain) ConvertToVersion(in k8s.Object, _ k8s.GroupVersioner) (k8s.Object, error) {
	return in, nil
}
func (plain) ConvertFieldLabel(_ schema.GroupVersionKind, label, value string) (string, string, error) {
	return label, value, nil
}
func (plain) Default(k8s.Object) {}
func (plain) New(kind schema.GroupVersionKind) (k8s.Object, error) {
	o := &unstructured.Unstructured{}
	o.SetGroupVersionKind(kind)
	return o, nil
}

func (s *apiServer) applied(live *unstructured.Unstructured, body []byte, by string, force bool) (*unstructured.Unstructured, error) {
	o := &unstructured.Unstructured{}
	if err := o.UnmarshalJSON(body); err != nil {
		return nil, err
	}
	var before k8s.Object = &unstructured.Unstructured{Object: map[string]any{"apiVersion": o.GetAPIVersion(), "kind": o.GetKind(), "metadata": map[string]any{"name": o.GetName()}}}
	if live != nil {
		before = live.DeepCopy()
	}
	after, err := owning(o.GetKind(), "").Apply(before, o, by, force)
	if err != nil {
		return nil, err
	}
	return after.(*unstructured.Unstructured), nil
}

func (s *apiServer) written(live, o *unstructured.Unstructured, by string) *unstructured.Unstructured {
	return owning(o.GetKind(), "").UpdateNoErrors(live.DeepCopy(), o, by).(*unstructured.Unstructured)
}

// by writes into an object as somebody; a nil edit deletes it.
func (s *apiServer) by(t *testing.T, who, path string, edit func(*unstructured.Unstructured)) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	live := s.objects[path]
	require.NotNil(t, live, path)
	if edit == nil {
		s.put(path, nil)
		return
	}
	o := live.DeepCopy()
	edit(o)
	s.put(path, s.written(live, o, who))
}

func (s *apiServer) questions() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string{}, s.asked...)
}

// watched is a runtime that has applied a service, a quota and a secret, and a watch that looks after them.
func watched(t *testing.T) (*apiServer, *Runtime, *noted) {
	t.Helper()
	s := newAPIServer(t)
	kubeSystem := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": kindNamespace, "metadata": map[string]any{"name": "kube-system"}}}
	s.put("/api/v1/namespaces/kube-system", kubeSystem)
	r, err := New(Options{Config: &rest.Config{Host: s.URL}, Prefix: "waybill", Volume: "v", DataDir: t.TempDir(), UID: 1, GID: 1, Keeper: &memory{}})
	require.NoError(t, err)
	m := r.render("production", sharedGroup)
	require.NoError(t, r.applyAll(t.Context(), m.namespaceObject(), m.service("web", nil, 8069, 0), m.quota(nil), m.secret("pool-p", nil, runtime.Files{"odoo.conf": []byte("secret")})))
	told := newNoted()
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- r.WatchDrift(ctx, told) }()
	t.Cleanup(func() {
		stop()
		require.NoError(t, <-ended)
	})
	return s, r, told
}

const (
	atService = "/api/v1/namespaces/waybill-production/services/web"
	atQuota   = "/api/v1/namespaces/waybill-production/resourcequotas/waybill"
	atSecret  = "/api/v1/namespaces/waybill-production/secrets/pool-p"
	atSpace   = "/api/v1/namespaces/waybill-production"
)

func await(t *testing.T, told *noted, is func(map[drift.Object]drift.Finding) bool) map[drift.Object]drift.Finding {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	open, ok := told.until(ctx, is)
	require.True(t, ok, "told: %v", open)
	return open
}

func drifted(kind, name, path string) func(map[drift.Object]drift.Finding) bool {
	return func(open map[drift.Object]drift.Finding) bool {
		for o, f := range open {
			for _, c := range f.Changes {
				if o.Kind == kind && o.Name == name && c.Path == path {
					return true
				}
			}
		}
		return false
	}
}

func TestDriftIsToldAndCostsNothingElse(t *testing.T) {
	s, r, told := watched(t)
	applied := len(s.questions())
	s.by(t, "kubectl-edit", atQuota, func(o *unstructured.Unstructured) {
		require.NoError(t, unstructured.SetNestedField(o.Object, "5000", "spec", "hard", "pods"))
	})
	open := await(t, told, drifted(kindQuota, "waybill", ".spec.hard.pods"))
	require.Len(t, open, 1)
	f := open[objectOf(kindQuota, "waybill-production", "waybill")]
	require.Equal(t, "production", f.Environment)
	require.Equal(t, "kubectl-edit", f.Changes[0].Owner)
	require.Equal(t, `"500"`, f.Changes[0].Declared)
	require.Equal(t, `"5000"`, f.Changes[0].Live)
	require.Equal(t, []string{"PATCH " + atQuota + " All"}, s.questions()[applied:], "one dry run, and nothing of what nobody has changed")

	// What somebody adds shows in the object itself.
	s.by(t, "kubectl-label", atService, func(o *unstructured.Unstructured) { o.SetLabels(with(o.GetLabels(), "team", "x")) })
	await(t, told, drifted(kindService, "web", ".metadata.labels.team"))
	require.Len(t, s.questions(), applied+1)

	s.by(t, "kubectl-edit", atSecret, func(o *unstructured.Unstructured) {
		require.NoError(t, unstructured.SetNestedField(o.Object, "aHVudGVyMg==", "data", "odoo.conf"))
	})
	open = await(t, told, drifted(kindSecret, "pool-p", `.data["odoo.conf"]`))
	require.NotContains(t, fmt.Sprint(open), "aHVu")

	// Healed, everything is as it was, and the watch tells so.
	for o := range open {
		require.NoError(t, r.heal(t.Context(), o))
	}
	await(t, told, func(open map[drift.Object]drift.Finding) bool { return len(open) == 0 })
	s.mu.Lock()
	require.NotContains(t, s.objects[atService].GetLabels(), "team")
	pods, _, _ := unstructured.NestedString(s.objects[atQuota].Object, "spec", "hard", "pods")
	s.mu.Unlock()
	require.Equal(t, "500", pods)
}

func with(m map[string]string, key, value string) map[string]string {
	m[key] = value
	return m
}

func TestDriftByDeletion(t *testing.T) {
	s, r, told := watched(t)
	s.by(t, "", atService, nil)
	service := objectOf(kindService, "waybill-production", "web")
	open := await(t, told, func(open map[drift.Object]drift.Finding) bool { return open[service].Deleted })
	require.Len(t, open, 1)
	require.NoError(t, r.heal(t.Context(), service))
	await(t, told, func(open map[drift.Object]drift.Finding) bool { return len(open) == 0 })

	// Of a namespace that goes, its objects are not told one by one; made anew, they are looked at.
	s.mu.Lock()
	for _, path := range []string{atService, atQuota, atSecret, atSpace} {
		s.put(path, nil)
	}
	s.mu.Unlock()
	space := objectOf(kindNamespace, "", "waybill-production")
	open = await(t, told, func(open map[drift.Object]drift.Finding) bool { return open[space].Deleted })
	require.Len(t, open, 1)
	require.NoError(t, r.heal(t.Context(), space))
	await(t, told, func(open map[drift.Object]drift.Finding) bool { return len(open) == 3 && open[service].Deleted })
}

func TestOwnRemovalIsNoDrift(t *testing.T) {
	s, r, told := watched(t)
	scope, err := r.scope(t.Context())
	require.NoError(t, err)
	require.Equal(t, "waybill", scope[strings.LastIndex(scope, "/")+1:])
	require.NoError(t, r.forget(t.Context(), kindService, "waybill-production", "web")) // as remove does first
	s.by(t, "", atService, nil)
	s.by(t, "kubectl-edit", atQuota, func(o *unstructured.Unstructured) {
		require.NoError(t, unstructured.SetNestedField(o.Object, "1", "spec", "hard", "pods"))
	})
	open := await(t, told, drifted(kindQuota, "waybill", ".spec.hard.pods"))
	require.Len(t, open, 1)
	// A newer apply of Waybill's own is what is declared from then on.
	require.NoError(t, r.heal(t.Context(), objectOf(kindQuota, "waybill-production", "waybill")))
	await(t, told, func(open map[drift.Object]drift.Finding) bool { return len(open) == 0 })
	_, err = r.apply(t.Context(), r.render("production", sharedGroup).quota(map[string]string{"pods": "7"}))
	require.NoError(t, err)
	s.by(t, "kubectl-label", atSpace, func(o *unstructured.Unstructured) { o.SetLabels(with(o.GetLabels(), "team", "x")) })
	open = await(t, told, drifted(kindNamespace, "waybill-production", ".metadata.labels.team"))
	require.Len(t, open, 1)
	// Others keep their notes in a namespace's annotations; only the list of digests is Waybill's.
	s.by(t, "rancher", atSpace, func(o *unstructured.Unstructured) { o.SetAnnotations(map[string]string{"cattle.io/x": "y"}) })
	s.by(t, "kubectl-annotate", atSpace, func(o *unstructured.Unstructured) {
		o.SetAnnotations(map[string]string{"cattle.io/x": "y", noteDigests: "ff"})
	})
	open = await(t, told, drifted(kindNamespace, "waybill-production", `.metadata.annotations["`+noteDigests+`"]`))
	require.NotContains(t, fmt.Sprint(open), "cattle")
	require.ErrorContains(t, r.heal(t.Context(), objectOf(kindNamespace, "", "waybill-production")), "take away the digests")
}

func TestObserverHeals(t *testing.T) {
	s, _, told := watched(t)
	told.mu.Lock()
	told.heal = true
	told.mu.Unlock()
	s.by(t, "kubectl-edit", atQuota, func(o *unstructured.Unstructured) {
		require.NoError(t, unstructured.SetNestedField(o.Object, "5000", "spec", "hard", "pods"))
	})
	await(t, told, func(map[drift.Object]drift.Finding) bool { return len(told.mended) == 1 })
	require.Equal(t, []string{"ResourceQuota waybill-production/waybill"}, told.healed)
}
