package kube

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"k8s.io/client-go/rest"
)

// asking is a runtime whose API server answers what may be done, and what kinds there are, as given.
func asking(t *testing.T, may func(resource, verb string) bool, routes int, change ...func(*Options)) *Runtime {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if !strings.HasSuffix(req.URL.Path, "/selfsubjectaccessreviews") {
			w.WriteHeader(routes)
			fmt.Fprintf(w, `{"kind":"Status","apiVersion":"v1","status":"Failure","code":%d,"message":"the server could not find the requested resource"}`, routes)
			return
		}
		var review struct {
			Spec struct {
				ResourceAttributes struct{ Resource, Subresource, Verb string }
			}
		}
		if err := json.NewDecoder(req.Body).Decode(&review); err != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		a := review.Spec.ResourceAttributes
		if a.Subresource != "" {
			a.Resource += "/" + a.Subresource
		}
		w.WriteHeader(http.StatusCreated)
		fmt.Fprintf(w, `{"kind":"SelfSubjectAccessReview","apiVersion":"authorization.k8s.io/v1","status":{"allowed":%t}}`, may(a.Resource, a.Verb))
	}))
	t.Cleanup(s.Close)
	opt := Options{Config: &rest.Config{Host: s.URL}, Prefix: "waybill", Volume: "v", DataDir: t.TempDir(), UID: 1, GID: 1}
	for _, f := range change {
		f(&opt)
	}
	r, err := New(opt)
	require.NoError(t, err)
	return r
}

func TestMissingRightsAreNamedAtOnce(t *testing.T) {
	require.NoError(t, asking(t, func(string, string) bool { return true }, 404).checkRights(t.Context()))
	err := asking(t, func(resource, verb string) bool {
		return resource != "pods/log" && (resource != "deployments" || verb == "get" || verb == "list")
	}, 404).checkRights(t.Context())
	require.ErrorContains(t, err, `apiGroups: ["apps"], resources: ["deployments"], verbs: ["create", "patch", "delete", "watch"]`)
	require.ErrorContains(t, err, `apiGroups: [""], resources: ["pods/log"], verbs: ["get"]`)
	require.NotContains(t, err.Error(), "services")

	claim := func(o *Options) { o.Volume = "server/filestores" }
	require.NoError(t, asking(t, func(resource, verb string) bool { return resource != "persistentvolumeclaims" || verb != "get" }, 404).checkRights(t.Context()))
	err = asking(t, func(resource, verb string) bool { return resource != "persistentvolumeclaims" || verb != "get" }, 404, claim).checkRights(t.Context())
	require.ErrorContains(t, err, `verbs: ["get"], resourceNames: ["filestores"] (a Role in namespace server is enough)`)
	require.Equal(t, 1, strings.Count(err.Error(), "apiGroups"), "all others are there")
}

func TestMissingKindsAreNamed(t *testing.T) {
	all := func(string, string) bool { return true }
	traefik := func(o *Options) { o.Traefik.Namespace = "traefik" }
	require.NoError(t, asking(t, all, 404).checkKinds(t.Context()), "no route is asked for")
	require.ErrorContains(t, asking(t, all, 404, traefik).checkKinds(t.Context()), "helm install traefik")
	require.NoError(t, asking(t, all, 403, traefik).checkKinds(t.Context()), "there, and not to be listed")
}

// The table of rights that people copy from is the one that is asked for.
func TestDocumentNamesAllRights(t *testing.T) {
	content, err := os.ReadFile("../../../docs/kubernetes.md")
	require.NoError(t, err)
	doc := string(content)
	r := asking(t, nil, 404, func(o *Options) {
		o.Volume, o.Traefik = "waybill/data", Traefik{Namespace: "traefik", Issuer: "letsencrypt"}
	})
	for _, need := range r.rights() {
		found := false
		for line := range strings.Lines(doc) {
			cells := strings.Split(line, "|")
			if len(cells) < 5 || !strings.Contains(cells[2], need.resource) {
				continue
			}
			missing := false
			for _, verb := range need.verbs {
				missing = missing || !strings.Contains(cells[3], verb)
			}
			found = found || !missing
		}
		require.True(t, found, "docs/kubernetes.md does not give %v to %s", need.verbs, need.resource)
	}
}
