//go:build kube

package kube

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/waybill-dev/waybill/internal/runtime"
	"github.com/waybill-dev/waybill/internal/runtime/runtimetest"
)

// The pods' user in tests.
const testUID, testGID = 12345, 12346

func TestConformance(t *testing.T) {
	image := pushStandIn(t)
	t.Run("suite", func(t *testing.T) { // its end is the end of the parallel tests
		runtimetest.Run(t, func(t *testing.T) runtimetest.Bundle {
			r, p := setup(t, image)
			return runtimetest.Bundle{
				Runtime: r, Image: image,
				Missing:     os.Getenv("WAYBILL_KUBE_REGISTRY") + "/none@sha256:" + strings.Repeat("0", 64),
				Environment: runtime.Environment{Name: "production", HTTP: freeNodePort(t)},
				UID:         testUID,
				Begins:      40 * time.Second,
				Scales:      true,
				Leftovers:   r.Leftovers,
				FreeAddress: freeNodePort,
				Occupy:      func(t *testing.T, address string) func() { return occupy(t, r, address) },
				Disconnect:  p.cut,
			}
		})
	})
}

// cluster is the one that make cluster starts, or the user's own.
func cluster(t *testing.T) *rest.Config {
	t.Helper()
	for _, name := range []string{"KUBECONFIG", "WAYBILL_KUBE_REGISTRY", "WAYBILL_KUBE_NODE"} {
		require.NotEmpty(t, os.Getenv(name), "these tests need a cluster: make cluster starts one; eval \"$(hack/cluster.sh env)\" sets %s", name)
	}
	config, err := clientcmd.BuildConfigFromFlags("", os.Getenv("KUBECONFIG"))
	require.NoError(t, err)
	return config
}

func pushStandIn(t *testing.T) string {
	t.Helper()
	cluster(t)
	repo, err := name.NewRepository(os.Getenv("WAYBILL_KUBE_REGISTRY")+"/standin", name.Insecure)
	require.NoError(t, err)
	image := runtimetest.StandIn(t)
	var options []remote.Option
	if password := os.Getenv("WAYBILL_KUBE_REGISTRY_PASSWORD"); password != "" {
		options = append(options, remote.WithAuth(&authn.Basic{Username: "waybill", Password: password}))
	}
	require.NoError(t, remote.Write(repo.Tag("latest"), image, options...))
	digest, err := image.Digest()
	require.NoError(t, err)
	return repo.Digest(digest.String()).String()
}

// setup is a runtime with a prefix and a volume of its own, behind a connection that can be cut.
func setup(t *testing.T, image string, change ...func(*Options)) (*Runtime, *proxy) {
	t.Helper()
	random := make([]byte, 4)
	_, err := rand.Read(random)
	require.NoError(t, err)
	prefix := "t-" + hex.EncodeToString(random)
	config := cluster(t)
	at, err := url.Parse(config.Host)
	require.NoError(t, err)
	p := newProxy(t, at.Host)
	config.TLSClientConfig.ServerName = at.Hostname()
	config.Host = "https://" + p.address

	dir := t.TempDir()
	require.NoError(t, os.Chmod(dir, 0o755))
	opt := Options{
		Config: config, Prefix: prefix, Volume: prefix, DataDir: dir, UID: testUID, GID: testGID,
		Image: func(context.Context) (string, error) { return image, nil },
		Log:   slog.New(slog.NewTextHandler(t.Output(), nil)),
	}
	for _, f := range change {
		f(&opt)
	}
	admin, err := New(opt)
	require.NoError(t, err)
	grant(t, admin)
	opt.Config = rest.CopyConfig(opt.Config)
	opt.Config.Impersonate = rest.ImpersonationConfig{UserName: granted, Groups: []string{"system:authenticated"}}
	r, err := New(opt)
	require.NoError(t, err)
	volume := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": kindVolume, "metadata": map[string]any{"name": prefix},
		"spec": map[string]any{"capacity": map[string]any{"storage": "1Gi"}, "accessModes": []any{"ReadWriteMany"}, "hostPath": map[string]any{"path": dir}}}}
	_, err = admin.of(kindVolume, "").Create(t.Context(), volume, metav1.CreateOptions{})
	require.NoError(t, err)
	t.Cleanup(func() {
		ctx := context.WithoutCancel(t.Context())
		require.NoError(t, admin.remove(ctx, kindVolume, "", prefix))
		for _, o := range admission(prefix) {
			require.NoError(t, admin.remove(ctx, o.GetKind(), "", o.GetName()))
		}
		require.NoError(t, r.Close())
		require.NoError(t, admin.Close())
	})
	require.NoError(t, r.Check(t.Context()))
	return r, p
}

// granted is the user that the tests ask as: with the rights that the document names, and no others.
const granted = "waybill:conformance"

func grant(t *testing.T, admin *Runtime) {
	t.Helper()
	var rules []any
	for _, need := range admin.rights() {
		var verbs []any
		for _, v := range need.verbs {
			verbs = append(verbs, v)
		}
		rules = append(rules, map[string]any{"apiGroups": []any{need.group}, "resources": []any{need.resource}, "verbs": verbs})
	}
	const group = "rbac.authorization.k8s.io"
	for plural, o := range map[string]map[string]any{
		"clusterroles": {"kind": "ClusterRole", "rules": rules},
		"clusterrolebindings": {"kind": "ClusterRoleBinding", "roleRef": map[string]any{"apiGroup": group, "kind": "ClusterRole", "name": granted},
			"subjects": []any{map[string]any{"apiGroup": group, "kind": "User", "name": granted}}},
	} {
		o["apiVersion"], o["metadata"] = group+"/v1", map[string]any{"name": granted}
		_, err := admin.api.Resource(schema.GroupVersionResource{Group: group, Version: "v1", Resource: plural}).
			Apply(t.Context(), granted, &unstructured.Unstructured{Object: o}, metav1.ApplyOptions{FieldManager: "conformance"})
		require.NoError(t, err)
	}
	// The API server hears of a new role a moment later.
	probe := *admin
	config := rest.CopyConfig(admin.opt.Config)
	config.Impersonate = rest.ImpersonationConfig{UserName: granted, Groups: []string{"system:authenticated"}}
	asUser, err := dynamic.NewForConfig(config)
	require.NoError(t, err)
	probe.api = asUser
	require.Eventually(t, func() bool { return probe.checkRights(t.Context()) == nil }, 30*time.Second, 200*time.Millisecond)
}

// Somebody without rights is told all of them at once, by the cluster itself.
func TestNobodyMayNothing(t *testing.T) {
	r, _ := setup(t, "")
	config := rest.CopyConfig(r.opt.Config)
	config.Impersonate = rest.ImpersonationConfig{UserName: "nobody", Groups: []string{"system:authenticated"}}
	opt := r.opt
	opt.Config = config
	nobody, err := New(opt)
	require.NoError(t, err)
	defer nobody.Close()
	err = nobody.Check(t.Context())
	for _, need := range r.rights() {
		require.ErrorContains(t, err, strconv.Quote(need.resource))
	}
	err = nobody.EnsureEnvironment(t.Context(), runtime.Environment{Name: "production"})
	require.ErrorContains(t, err, `nobody may not do this: add to its role the rule apiGroups: [""], resources: ["namespaces"], verbs: ["get"]`)
}

// freeNodePort is a port of the node that is probably free: the range holds thousands, the tests need few.
func freeNodePort(t *testing.T) string {
	t.Helper()
	n, err := rand.Int(rand.Reader, big.NewInt(2700))
	require.NoError(t, err)
	return net.JoinHostPort(os.Getenv("WAYBILL_KUBE_NODE"), strconv.FormatInt(30050+n.Int64(), 10))
}

// occupy lets another service have the port.
func occupy(t *testing.T, r *Runtime, address string) (release func()) {
	t.Helper()
	_, port, err := net.SplitHostPort(address)
	require.NoError(t, err)
	n, err := strconv.ParseInt(port, 10, 64)
	require.NoError(t, err)
	service := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": kindService, "metadata": map[string]any{"name": r.opt.Prefix + "-taken"},
		"spec": map[string]any{"type": "NodePort", "ports": []any{map[string]any{"port": int64(80), "nodePort": n}}}}}
	_, err = r.of(kindService, "default").Create(t.Context(), service, metav1.CreateOptions{})
	require.NoError(t, err)
	release = func() {
		require.NoError(t, r.remove(context.WithoutCancel(t.Context()), kindService, "default", service.GetName()))
	}
	t.Cleanup(release)
	return release
}

// proxy stands between the runtime and the API server, so that their connection can be cut.
type proxy struct {
	address, target string

	mu    sync.Mutex
	down  bool
	conns map[net.Conn]struct{}
}

func newProxy(t *testing.T, target string) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	p := &proxy{address: l.Addr().String(), target: target, conns: map[net.Conn]struct{}{}}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() { p.carry(in) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		p.cut()
		all.Wait()
	})
	return p
}

func (p *proxy) carry(in net.Conn) {
	defer in.Close()
	out, err := net.Dial("tcp", p.target)
	if err != nil {
		return
	}
	defer out.Close()
	p.mu.Lock()
	if p.down {
		p.mu.Unlock()
		return
	}
	p.conns[in], p.conns[out] = struct{}{}, struct{}{}
	p.mu.Unlock()
	var both sync.WaitGroup
	both.Go(func() { _, _ = io.Copy(out, in); _ = out.Close() })
	both.Go(func() { _, _ = io.Copy(in, out); _ = in.Close() })
	both.Wait()
	p.mu.Lock()
	delete(p.conns, in)
	delete(p.conns, out)
	p.mu.Unlock()
}

func (p *proxy) cut() (reconnect func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.down = true
	for c := range p.conns {
		_ = c.Close()
	}
	return func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.down = false
	}
}
