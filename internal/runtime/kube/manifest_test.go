package kube

import (
	"flag"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"github.com/waybill-dev/waybill/internal/router"
	"github.com/waybill-dev/waybill/internal/runtime"
)

var update = flag.Bool("update", false, "write testdata/*.yaml anew")

func golden(t *testing.T, name string, objects []*unstructured.Unstructured) {
	t.Helper()
	var all []string
	for _, o := range objects {
		content, err := yaml.Marshal(o.Object)
		require.NoError(t, err)
		all = append(all, string(content))
	}
	got, file := strings.Join(all, "---\n"), filepath.Join("testdata", name+".yaml")
	if *update {
		require.NoError(t, os.MkdirAll("testdata", 0o755))
		require.NoError(t, os.WriteFile(file, []byte(got), 0o644))
	}
	want, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Equal(t, string(want), got, "look at the change; then: go test ./internal/runtime/kube -update")
}

const digest = "@sha256:" + "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

func example(group string) (render, Options) {
	opt := Options{Prefix: "waybill", UID: 10001, GID: 10001, Namespace: "waybill-system", Reach: []string{"postgres"},
		Quota:   map[string]string{"requests.memory": "64Gi"},
		Traefik: Traefik{Namespace: "traefik", EntryPoints: []string{"websecure"}, Proxies: []string{"10.0.0.0/8"}, TLSSecret: "tls", Issuer: "letsencrypt"}}
	r := &Runtime{opt: opt}
	m := r.render("production", group)
	m.self = "registry.example/waybill/waybill" + digest
	return m, opt
}

// inBucket has filestores in a bucket.
func inBucket(o *Options) {
	o.Volume, o.DataDir = "", ""
	o.Filestores = &Filestores{URL: "s3://files?region=eu-central-1", Env: map[string]string{"AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "pa55word"}}
}

func TestManifestsWithABucket(t *testing.T) {
	_, opt := example(sharedGroup)
	inBucket(&opt)
	m := (&Runtime{opt: opt}).render("production", sharedGroup)
	m.self = "registry.example/waybill/waybill" + digest
	secret := runtime.Files{gatewayKey: []byte("0123456789abcdef0123456789abcdef")}
	for name, value := range opt.Filestores.Env {
		secret[name] = []byte(value)
	}
	gateway := m.gateway(secret)
	golden(t, "bucket-gateway", gateway)
	golden(t, "bucket-network", m.network(opt, []netip.Prefix{netip.MustParsePrefix("10.214.0.0/20")}))
	golden(t, "bucket-job", []*unstructured.Unstructured{m.job(runtime.Job{Environment: "production", Name: "update-1", Group: sharedGroup, Image: "registry.example/acme" + digest, Command: []string{"odoo"}})})
	for _, o := range append(gateway, m.pool(runtime.Pool{Environment: "production", Name: "r42", Group: sharedGroup, Image: "registry.example/acme" + digest, Workers: 2})...) {
		content, err := yaml.Marshal(o.Object)
		require.NoError(t, err)
		require.NotContains(t, string(content), "persistentVolumeClaim")
		require.NotContains(t, string(content), "subPath")
		require.NotContains(t, string(content), "pa55word")
	}
	again := m.gateway(secret)
	require.Equal(t, gateway, again, "nothing is replaced for nothing")
	secret["AWS_SECRET_ACCESS_KEY"] = []byte("another")
	require.NotEqual(t, gateway[len(gateway)-1], m.gateway(secret)[len(gateway)-1], "it reads them once")
}

func TestManifests(t *testing.T) {
	m, opt := example("wholesale")
	pods := []netip.Prefix{netip.MustParsePrefix("10.214.0.0/20")}
	pool := runtime.Pool{Environment: "production", Name: "r42", Group: "wholesale", Image: "registry.example/acme" + digest, Workers: 4, Memory: 2 << 30, CPUs: 2}
	golden(t, "pool", m.pool(pool))
	scaled := pool
	scaled.Web = runtime.Scale{Min: 3}
	golden(t, "pool-fixed", m.pool(scaled))
	scaled.Web = runtime.Scale{Min: 2, Max: 8, CPU: 70}
	golden(t, "pool-autoscaled", m.pool(scaled))
	golden(t, "job", []*unstructured.Unstructured{m.job(runtime.Job{Environment: "production", Name: "update-r42", Group: "wholesale",
		Image: pool.Image, Command: []string{"odoo", "waybill_update"}, Memory: 4 << 30})})
	golden(t, "dedicated", append([]*unstructured.Unstructured{m.namespaceObject()}, m.fences(opt, pods)...))

	m, opt = example(sharedGroup)
	golden(t, "environment", append([]*unstructured.Unstructured{m.namespaceObject()}, m.fences(opt, pods)...))
	golden(t, "router", m.router(opt, 30080, 30443))
	golden(t, "routes", m.routes(opt.Traefik, []string{"b.example", "a.example"}))
	golden(t, "admission", admission("waybill"))
	golden(t, "volume", m.volume(corev1.PersistentVolumeSpec{
		Capacity:               corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Ti")},
		PersistentVolumeSource: corev1.PersistentVolumeSource{NFS: &corev1.NFSVolumeSource{Server: "files.example", Path: "/odoo"}}}))

	r := &Runtime{opt: opt}
	h, err := r.rehearsal("abcde23456", netip.MustParseAddrPort("10.0.7.3:41234"))
	require.NoError(t, err)
	h.r.decoy, h.r.self = "10.0.7.3:41235", m.self
	m = h.r.render(h.environment, sharedGroup)
	golden(t, "rehearsal", append(append([]*unstructured.Unstructured{m.namespaceObject()}, m.fences(h.r.opt, pods)...),
		m.job(runtime.Job{Environment: h.environment, Name: "update-one", Image: pool.Image, Command: []string{"odoo", "waybill_update"}, Memory: 4 << 30})))

	m, _ = example(sharedGroup)
	table, err := m.table(router.Table{Environment: "production", Generation: 3})
	require.NoError(t, err)
	golden(t, "table", []*unstructured.Unstructured{table})
}

// What Pod Security's level restricted asks of every pod, said of every container that is rendered.
func TestEveryPodIsRestricted(t *testing.T) {
	m, opt := example(sharedGroup)
	pool := runtime.Pool{Environment: "production", Name: "p", Image: "r/i" + digest, Workers: 2}
	specs := []corev1.PodSpec{podSpecOf(m.job(runtime.Job{Environment: "production", Name: "j", Image: "r/i" + digest, Command: []string{"x"}}))}
	for _, o := range append(m.pool(pool), m.router(opt, 0, 0)...) {
		if o.GetKind() == kindDeployment {
			specs = append(specs, podSpecOf(o))
		}
	}
	m.environment, m.self = copies+"x", "r/i"+digest
	specs = append(specs, podSpecOf(m.job(runtime.Job{Environment: m.environment, Name: "j", Image: "r/i" + digest, Command: []string{"x"}})))
	require.Len(t, specs[5].InitContainers, 1)
	require.Len(t, specs, 6)
	for _, s := range specs {
		require.True(t, *s.SecurityContext.RunAsNonRoot)
		require.Equal(t, corev1.SeccompProfileTypeRuntimeDefault, s.SecurityContext.SeccompProfile.Type)
		require.False(t, *s.AutomountServiceAccountToken)
		require.False(t, s.HostNetwork || s.HostPID || s.HostIPC)
		for _, c := range append(s.InitContainers, s.Containers...) {
			require.False(t, *c.SecurityContext.AllowPrivilegeEscalation, c.Name)
			require.True(t, *c.SecurityContext.ReadOnlyRootFilesystem, c.Name)
			require.Equal(t, []corev1.Capability{"ALL"}, c.SecurityContext.Capabilities.Drop, c.Name)
		}
		for _, v := range s.Volumes {
			require.Nil(t, v.HostPath, v.Name)
		}
		require.Greater(t, *s.TerminationGracePeriodSeconds, int64(60))
	}
}

func TestNamesFit(t *testing.T) {
	long := strings.Repeat("a", 63)
	r := &Runtime{opt: Options{Prefix: strings.Repeat("p", 20)}}
	seen := map[string]bool{}
	for _, name := range []string{
		r.namespace(long, sharedGroup), r.namespace(long, long), r.namespace(long, long[:62]), r.namespace("a-b", sharedGroup), r.namespace("a", "b"),
		poolObject(long[:53], roleWebsocket), jobObject(long), jobObject(long[:62]),
	} {
		require.NoError(t, runtime.CheckName("name", name))
		require.False(t, seen[name], name)
		seen[name] = true
	}
}
