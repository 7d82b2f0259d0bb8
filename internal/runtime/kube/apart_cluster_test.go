//go:build kube

package kube

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/dynamic"

	"github.com/waybill-dev/waybill/internal/odoo"
	"github.com/waybill-dev/waybill/internal/runtime"
	"github.com/waybill-dev/waybill/internal/runtime/kube/witness"
)

// inside is what a page of a stand-in answers, which runs in a pod.
func inside(ctx context.Context, t *testing.T, page string) (int, string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, page, nil)
	require.NoError(t, err)
	res, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	defer res.Body.Close()
	content, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	require.NoError(t, err)
	return res.StatusCode, strings.TrimSpace(string(content))
}

// TestDedicatedTenantsAreApart tries, from inside the pods of a dedicated tenant, whatever belongs to others: pods, a database in a
// namespace that was not named, secrets, files, the cluster's API. Each refusal has a control beside it that succeeds.
func TestDedicatedTenantsAreApart(t *testing.T) {
	image := pushStandIn(t)
	r, _ := setup(t, image)
	ctx, cancel := context.WithTimeout(t.Context(), 8*time.Minute)
	defer cancel()
	people, err := dynamic.NewForConfig(cluster(t))
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, r.RemoveEnvironment(context.WithoutCancel(t.Context()), "production"))
	})
	at := freeNodePort(t)
	require.NoError(t, r.EnsureEnvironment(ctx, runtime.Environment{Name: "production", HTTP: at}))
	bridge := map[string]string{}
	for _, group := range []string{"east", "west", sharedGroup} {
		require.NoError(t, r.EnsureDataDir("production", group))
		require.NoError(t, os.WriteFile(filepath.Join(r.DataDir("production", group), "ledger-of-"+group), []byte(group), 0o644))
		state, err := r.EnsurePool(ctx, runtime.Pool{Environment: "production", Name: group, Group: group, Image: image,
			Files: runtime.Files{"odoo.conf": []byte("[options]\n"), "pool.json": []byte(`{"generation": 1}`), "key-of-" + group: []byte(group)}})
		require.NoError(t, err)
		bridge[group] = state.Bridge
	}
	addresses := map[string][]string{} // by group, all that its pods listen on
	for group := range bridge {
		addresses[group] = []string{strings.TrimPrefix(bridge[group], "http://")}
		pods, err := r.podsOf(ctx, r.namespace("production", group), labels{labelPool: group, labelRole: roleWeb})
		require.NoError(t, err)
		require.NotEmpty(t, pods)
		for _, p := range pods {
			addresses[group] = append(addresses[group], net.JoinHostPort(p.Status.PodIP, strconv.Itoa(odoo.HTTPPort)), net.JoinHostPort(p.Status.PodIP, strconv.Itoa(witness.Port)))
		}
	}
	routers, err := r.podsOf(ctx, r.namespace("production", sharedGroup), labels{labelRole: roleRouter})
	require.NoError(t, err)
	require.NotEmpty(t, routers)
	router := net.JoinHostPort(routers[0].Status.PodIP, strconv.Itoa(routerPort))
	database := listener(ctx, t, people, r.opt.Prefix+"-db", image)

	for _, a := range []string{addresses["east"][0], addresses["west"][0], addresses["east"][1], addresses["west"][1]} {
		status, says := inside(ctx, t, "http://"+at+"/dial/"+a)
		require.Equal(t, http.StatusOK, status, "the router reaches every pool, so that a refusal is one of the policies: %s", says)
	}
	for _, a := range []string{database, router, addresses["east"][2], addresses["west"][2]} {
		conn, err := net.DialTimeout("tcp", a, 5*time.Second)
		require.NoError(t, err, "it listens, so that a refusal is one of the policies")
		_ = conn.Close()
	}
	api := "https://" + net.JoinHostPort(serviceIP(ctx, t, people), "443")
	for _, one := range [][]string{{"east", "west", sharedGroup}, {"west", "east", sharedGroup}} {
		own, others := one[0], one[1:]
		status, says := inside(ctx, t, bridge[own]+"/dial/"+addresses[own][0])
		require.Equal(t, http.StatusOK, status, "its own: %s", says)
		for _, of := range others {
			for _, a := range addresses[of] {
				status, says := inside(ctx, t, bridge[own]+"/dial/"+a)
				require.Equal(t, http.StatusBadGateway, status, "%s reaches %s of %s: %s", own, a, of, says)
			}
		}
		for _, a := range []string{database, router} {
			status, says := inside(ctx, t, bridge[own]+"/dial/"+a)
			require.Equal(t, http.StatusBadGateway, status, "%s reaches %s: %s", own, a, says)
		}
		for _, what := range []string{"ledger-of-", "key-of-"} {
			status, says := inside(ctx, t, bridge[own]+"/find/"+what+own)
			require.Equal(t, http.StatusOK, status)
			require.Contains(t, says, what+own, "its own")
			for _, of := range others {
				_, says := inside(ctx, t, bridge[own]+"/find/"+what+of)
				require.Empty(t, says, "%s sees what is %s's", own, of)
			}
		}
		// The cluster's API takes nobody who has no token, and there is none.
		_, says = inside(ctx, t, bridge[own]+"/find/token")
		require.Empty(t, says, "a token of the cluster")
		for _, of := range others {
			for _, kind := range []string{"secrets", "pods"} {
				status, says := inside(ctx, t, bridge[own]+"/ask?url="+url.QueryEscape(api+"/api/v1/namespaces/"+r.namespace("production", of)+"/"+kind))
				require.Contains(t, []int{http.StatusBadGateway, http.StatusUnauthorized, http.StatusForbidden}, status, "%s asks the cluster for %s's %s: %s", own, of, kind, says)
			}
		}
	}
}

func serviceIP(ctx context.Context, t *testing.T, people dynamic.Interface) string {
	t.Helper()
	s, err := people.Resource(resourceOf(kindService)).Namespace("default").Get(ctx, "kubernetes", metav1.GetOptions{})
	require.NoError(t, err)
	ip, _, err := unstructured.NestedString(s.Object, "spec", "clusterIP")
	require.NoError(t, err)
	return ip
}

// listener is a pod in a namespace of its own that listens where PostgreSQL does, and keeps nobody away.
func listener(ctx context.Context, t *testing.T, people dynamic.Interface, namespace, image string) string {
	t.Helper()
	object := func(kind, name string, rest map[string]any) *unstructured.Unstructured {
		o := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": kind, "metadata": map[string]any{"name": name}}}
		for k, v := range rest {
			o.Object[k] = v
		}
		return o
	}
	_, err := people.Resource(resourceOf(kindNamespace)).Create(ctx, object(kindNamespace, namespace, nil), metav1.CreateOptions{})
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, people.Resource(resourceOf(kindNamespace)).Delete(context.WithoutCancel(t.Context()), namespace, metav1.DeleteOptions{}))
	})
	pods := people.Resource(resourceOf(kindPod)).Namespace(namespace)
	require.NoError(t, until(ctx, "the namespace has its account", func() (bool, error) {
		_, err := pods.Create(ctx, object(kindPod, "postgres", map[string]any{"spec": map[string]any{"automountServiceAccountToken": false, "containers": []any{map[string]any{
			"name": "postgres", "image": image, "command": []any{"/waybill", "router", "--http", ":5432", "--admin", "/admin.sock"}}}}}), metav1.CreateOptions{})
		if err != nil && strings.Contains(err.Error(), "service account") {
			return false, nil
		}
		return err == nil, err
	}))
	address := ""
	require.NoError(t, until(ctx, "it listens", func() (bool, error) {
		p, err := pods.Get(ctx, "postgres", metav1.GetOptions{})
		if err != nil {
			return false, err
		}
		ip, _, _ := unstructured.NestedString(p.Object, "status", "podIP")
		address = net.JoinHostPort(ip, "5432")
		return ip != "" && dials(ctx, address) == nil, nil
	}))
	return address
}
