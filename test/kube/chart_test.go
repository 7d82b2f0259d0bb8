//go:build kube

package kube

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/waybill-dev/waybill/examples/acme/cluster"
	"github.com/waybill-dev/waybill/internal/api"
	"github.com/waybill-dev/waybill/test/chart/helm"
)

// serverUser is who the image of the server runs as.
const serverUser = 65532

// TestChart installs Waybill with its own chart: two servers on one database, one of which is killed, then both replaced by an
// upgrade, while people ask; and nothing of the chart is left afterwards.
func TestChart(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Minute)
	defer cancel()
	i := prepare(ctx, t, shop)
	servers := i.install(ctx)
	for name, at := range servers {
		require.Equal(t, http.StatusOK, i.ask(ctx, at, "GET", "/healthz", "", nil, nil), name)
		require.Equal(t, http.StatusOK, i.ask(ctx, at, "GET", "/api/v1/whoami", i.token, nil, nil), "the installation's token counts at %s", name)
	}
	i.seenAtTheOther(ctx, servers)
	i.onlyWhoMayReaches(ctx, servers)
	killed := i.goesOnAtTheOther(ctx, servers)
	i.upgradesWithoutAGap(ctx)
	i.goes(ctx)
	t.Logf("%s was killed", killed)
}

// installation is where the chart is installed.
type installation struct {
	t         *testing.T
	cluster   kubernetes.Interface
	objects   dynamic.Interface
	kinds     discovery.DiscoveryInterface
	work      string // folder
	beside    *cluster.Cluster
	estate    map[string]string // files by name
	prefix    string            // of the namespaces of environments; the server's own is namespace
	namespace string
	image     string
	values    string // file
	token     string // of the installation
}

func given(t *testing.T, name string) string {
	t.Helper()
	value := os.Getenv(name)
	require.NotEmpty(t, value, "%s is not set: make test-kube, or eval \"$(hack/cluster.sh env)\" and what hack/test.sh sets", name)
	return value
}

// prepare makes what people have before they install the chart: image, keys, secrets, estate (its files by name), volume, database.
func prepare(ctx context.Context, t *testing.T, estate func(*cluster.Cluster) map[string]string) *installation {
	t.Helper()
	config, err := clientcmd.BuildConfigFromFlags("", given(t, "KUBECONFIG"))
	require.NoError(t, err)
	config.WarningHandler = rest.NoWarnings{} // of kinds that are old, when all are looked through
	mark := make([]byte, 3)
	_, _ = rand.Read(mark)
	i := &installation{t: t, prefix: "chart-" + hex.EncodeToString(mark), cluster: kubernetes.NewForConfigOrDie(config), objects: dynamic.NewForConfigOrDie(config),
		kinds: discovery.NewDiscoveryClientForConfigOrDie(config), work: t.TempDir()}
	i.namespace = "server-of-" + i.prefix
	i.beside, err = cluster.Open(ctx, i.prefix, i.work)
	require.NoError(t, err)
	t.Cleanup(func() { i.clear(ctx) })

	_, err = i.cluster.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: i.namespace, Labels: map[string]string{"pod-security.kubernetes.io/enforce": "restricted"}}}, metav1.CreateOptions{})
	require.NoError(t, err)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 3*time.Minute)
		defer cancel()
		if t.Failed() {
			i.tell(ctx)
		}
		_, err := helm.Run(ctx, "uninstall", "waybill", "--namespace", i.namespace, "--ignore-not-found")
		assert.NoError(t, err)
		assert.NoError(t, i.cluster.CoreV1().Namespaces().Delete(ctx, i.namespace, metav1.DeleteOptions{}))
		assert.Eventually(t, func() bool {
			_, err := i.cluster.CoreV1().Namespaces().Get(ctx, i.namespace, metav1.GetOptions{})
			return apierrors.IsNotFound(err)
		}, 2*time.Minute, time.Second, "the namespace goes")
	})

	content, err := os.ReadFile(filepath.Join(i.work, "docker", "config.json"))
	require.NoError(t, err)
	i.image = i.output(ctx, "../..", "go", "run", "./hack/image", "-base", given(t, "WAYBILL_TEST_IMAGE_BASE"), "-binary", "bin/waybill", "-push", i.beside.Registry+"/server:test")
	i.secret(ctx, "registry", corev1.SecretTypeDockerConfigJson, map[string][]byte{corev1.DockerConfigJsonKey: content})

	// The keys, as people make them.
	i.waybill(ctx, nil, "key", "create")
	keys := map[string][]byte{}
	entries, err := os.ReadDir(filepath.Join(i.data(), "keys"))
	require.NoError(t, err)
	for _, e := range entries {
		keys[e.Name()], err = os.ReadFile(filepath.Join(i.data(), "keys", e.Name()))
		require.NoError(t, err)
	}
	i.token = strings.TrimSpace(string(keys["token"]))
	i.secret(ctx, "waybill-keys", corev1.SecretTypeOpaque, keys)

	i.estate = estate(i.beside)
	passwords := []string{"WAYBILL_KUBE_POSTGRES_PASSWORD", "WAYBILL_KUBE_REDIS_PASSWORD"} // which the estate names
	secrets := map[string][]byte{"url": []byte(i.beside.DatabaseURL(i.prefix))}
	var environment []any
	for _, name := range passwords {
		secrets[name] = []byte(given(t, name))
		environment = append(environment, map[string]any{"name": name, "valueFrom": map[string]any{"secretKeyRef": map[string]any{"name": "waybill-database", "key": name}}})
	}
	i.secret(ctx, "waybill-database", corev1.SecretTypeOpaque, secrets)
	_, err = i.cluster.CoreV1().ConfigMaps(i.namespace).Create(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "estate"}, Data: i.estate}, metav1.CreateOptions{})
	require.NoError(t, err)
	i.volume(ctx)

	i.values = filepath.Join(i.work, "values.json") // which is YAML
	values, err := json.Marshal(map[string]any{
		"image": i.image, "database": map[string]any{"secret": "waybill-database"},
		"registry":        map[string]any{"url": i.beside.Registry, "secret": "registry", "pullSecret": "registry"},
		"bucket":          "file:///srv/filestore/checkpoints",
		"estate":          map[string]any{"configMap": "estate"},
		"filestore":       map[string]any{"claim": "filestores"},
		"env":             environment,
		"namespacePrefix": i.prefix,
		"traefik":         map[string]any{"namespace": "traefik", "entryPoints": []string{"web"}, "networks": []string{given(t, "WAYBILL_KUBE_PODS")}},
		"metrics":         map[string]any{"enabled": true, "serviceMonitor": map[string]any{"enabled": true}},
		"resources":       map[string]any{"requests": map[string]any{"cpu": "20m", "memory": "64Mi"}, "limits": map[string]any{"memory": "1Gi"}},
	})
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(i.values, values, 0o600))
	return i
}

// clear takes away what the servers have made for environments, which outlives the chart.
func (i *installation) clear(ctx context.Context) {
	i.t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 3*time.Minute)
	defer cancel()
	assert.NoError(i.t, i.beside.Clear(ctx, func(ctx context.Context, args ...string) error { i.waybill(ctx, nil, args...); return nil }))
}

// shop is the estate of an environment without tenants.
func shop(c *cluster.Cluster) map[string]string {
	return map[string]string{
		"product.yaml":    "kind: Product\nname: shop\nseries: \"19.0\"\nbase: odoo:19.0\nenvironments: [production]\n",
		"production.yaml": "kind: Environment\nname: production\nruntime:\n  docker: {http: \"" + c.Ports()[1] + "\"}\n" + c.Servers(),
		"access.yaml":     "kind: Access\nusers:\n  - name: ann\n    roles: [{role: viewer}]\n",
	}
}

func (i *installation) data() string { return filepath.Join(i.work, "waybill") }

// waybill runs a verb beside the cluster, with the installation's keys, and decodes what it says into a result, unless that is nil.
func (i *installation) waybill(ctx context.Context, result any, args ...string) {
	i.t.Helper()
	said := i.output(ctx, "../..", "bin/waybill", append(args, "--data", i.data(), "-o", "json")...)
	if result != nil {
		require.NoError(i.t, json.Unmarshal([]byte(said), result), "%v: %s", args, said)
	}
}

func (i *installation) secret(ctx context.Context, name string, kind corev1.SecretType, data map[string][]byte) {
	i.t.Helper()
	_, err := i.cluster.CoreV1().Secrets(i.namespace).Create(ctx, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: name}, Type: kind, Data: data}, metav1.CreateOptions{})
	require.NoError(i.t, err)
}

func (i *installation) output(ctx context.Context, dir, name string, args ...string) string {
	i.t.Helper()
	cmd := exec.CommandContext(ctx, name, args...)
	var complaint bytes.Buffer
	cmd.Dir, cmd.Stderr = dir, &complaint
	out, err := cmd.Output()
	require.NoError(i.t, err, "%s %v: %s", name, args, complaint.String())
	return strings.TrimSpace(string(out))
}

// volume makes one of a folder of this node, beside that of the cluster's other filestores, and the claim that is bound to it.
func (i *installation) volume(ctx context.Context) {
	i.t.Helper()
	folder, err := os.MkdirTemp(filepath.Dir(given(i.t, "WAYBILL_KUBE_VOLUME_FOLDER")), "chart-*")
	require.NoError(i.t, err)
	i.t.Cleanup(func() { assert.NoError(i.t, os.RemoveAll(folder)) })
	require.NoError(i.t, os.Chown(folder, serverUser, serverUser))
	none, size := "", corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Gi")}
	kind := corev1.HostPathDirectory
	_, err = i.cluster.CoreV1().PersistentVolumes().Create(ctx, &corev1.PersistentVolume{ObjectMeta: metav1.ObjectMeta{Name: i.namespace}, Spec: corev1.PersistentVolumeSpec{
		Capacity: size, AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteMany}, PersistentVolumeReclaimPolicy: corev1.PersistentVolumeReclaimRetain,
		PersistentVolumeSource: corev1.PersistentVolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: folder, Type: &kind}},
		ClaimRef:               &corev1.ObjectReference{Namespace: i.namespace, Name: "filestores"},
	}}, metav1.CreateOptions{})
	require.NoError(i.t, err)
	i.t.Cleanup(func() {
		assert.NoError(i.t, i.cluster.CoreV1().PersistentVolumes().Delete(context.WithoutCancel(ctx), i.namespace, metav1.DeleteOptions{}))
	})
	_, err = i.cluster.CoreV1().PersistentVolumeClaims(i.namespace).Create(ctx, &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Name: "filestores"}, Spec: corev1.PersistentVolumeClaimSpec{
		AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteMany}, StorageClassName: &none, VolumeName: i.namespace, Resources: corev1.VolumeResourceRequirements{Requests: size},
	}}, metav1.CreateOptions{})
	require.NoError(i.t, err)
}

// install has Helm install the chart, and returns the servers.
func (i *installation) install(ctx context.Context) map[string]string {
	i.t.Helper()
	i.helm(ctx, "install", "waybill", helm.Chart(), "--namespace", i.namespace, "--wait", "--timeout", "5m", "-f", i.values)
	servers := i.servers(ctx)
	require.Len(i.t, servers, 2)
	return servers
}

func (i *installation) helm(ctx context.Context, args ...string) {
	i.t.Helper()
	_, err := helm.Run(ctx, args...)
	require.NoError(i.t, err)
}

// tell says what the cluster knows of pods that did not do what they should.
func (i *installation) tell(ctx context.Context) {
	pods, err := i.cluster.CoreV1().Pods(i.namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return
	}
	for _, p := range pods.Items {
		lines := int64(15)
		log, _ := i.cluster.CoreV1().Pods(i.namespace).GetLogs(p.Name, &corev1.PodLogOptions{TailLines: &lines}).DoRaw(ctx)
		i.t.Logf("pod %s is %s: %+v\n%s", p.Name, p.Status.Phase, p.Status.ContainerStatuses, log)
	}
	events, err := i.cluster.CoreV1().Events(i.namespace).List(ctx, metav1.ListOptions{FieldSelector: "type=Warning"})
	if err != nil {
		return
	}
	for _, e := range events.Items {
		i.t.Logf("%s %s: %s", e.InvolvedObject.Kind, e.InvolvedObject.Name, e.Message)
	}
}

// servers are those that are ready, with where each listens.
func (i *installation) servers(ctx context.Context) map[string]string {
	i.t.Helper()
	pods, err := i.cluster.CoreV1().Pods(i.namespace).List(ctx, metav1.ListOptions{LabelSelector: "app.kubernetes.io/instance=waybill"})
	require.NoError(i.t, err)
	all := map[string]string{}
	for _, p := range pods.Items {
		for _, c := range p.Status.Conditions {
			if c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue && p.DeletionTimestamp == nil {
				all[p.Name] = net.JoinHostPort(p.Status.PodIP, "7480")
				require.Zero(i.t, p.Status.ContainerStatuses[0].RestartCount, "%s did not come up at once", p.Name)
			}
		}
	}
	return all
}

// service is where people find whichever server there is.
func (i *installation) service(ctx context.Context) string {
	i.t.Helper()
	s, err := i.cluster.CoreV1().Services(i.namespace).Get(ctx, "waybill", metav1.GetOptions{})
	require.NoError(i.t, err)
	return net.JoinHostPort(s.Spec.ClusterIP, fmt.Sprint(s.Spec.Ports[0].Port))
}

// fresh makes a connection for each request: one that goes on would stay with its server.
var fresh = &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}

func request(ctx context.Context, at, method, path, token string, in, out any) (int, error) {
	var body io.Reader
	if in != nil {
		content, err := json.Marshal(in)
		if err != nil {
			return 0, err
		}
		body = bytes.NewReader(content)
	}
	r, err := http.NewRequestWithContext(ctx, method, "http://"+at+path, body)
	if err != nil {
		return 0, err
	}
	r.Header.Set("Authorization", "Bearer "+token)
	r.Header.Set("Content-Type", "application/json")
	answer, err := fresh.Do(r)
	if err != nil {
		return 0, err
	}
	defer func() { _ = answer.Body.Close() }()
	content, err := io.ReadAll(answer.Body)
	if err == nil && out != nil && answer.StatusCode < 300 {
		err = json.Unmarshal(content, out)
	}
	return answer.StatusCode, err
}

func (i *installation) ask(ctx context.Context, at, method, path, token string, in, out any) int {
	i.t.Helper()
	code, err := request(ctx, at, method, path, token, in, out)
	require.NoError(i.t, err)
	return code
}

// seenAtTheOther makes a token at one server; it counts at the other, until it is revoked there.
func (i *installation) seenAtTheOther(ctx context.Context, servers map[string]string) {
	i.t.Helper()
	var at []string
	for _, address := range servers {
		at = append(at, address)
	}
	for n, here := range at {
		there := at[1-n]
		var made api.Token
		require.Less(i.t, i.ask(ctx, here, "POST", "/api/v1/tokens", i.token, map[string]any{"user": "ann", "seconds": 3600}, &made), 300)
		require.NotEmpty(i.t, made.Text)
		require.Equal(i.t, http.StatusOK, i.ask(ctx, there, "GET", "/api/v1/whoami", made.Text, nil, nil))
		require.Less(i.t, i.ask(ctx, there, "DELETE", "/api/v1/tokens/"+made.ID, i.token, nil, nil), 300)
		require.Equal(i.t, http.StatusUnauthorized, i.ask(ctx, here, "GET", "/api/v1/whoami", made.Text, nil, nil))
	}
	for _, address := range at {
		var findings []api.Finding
		require.Equal(i.t, http.StatusOK, i.ask(ctx, address, "GET", "/api/v1/doctor", i.token, nil, &findings))
		seen := 0
		for _, f := range findings {
			if slices.Contains([]string{"own database", "estate", "kubernetes", "bucket", "keys", "offline key", "database of production"}, f.Name) {
				seen++
				assert.True(i.t, f.OK, "%s: %s", f.Name, f.Detail)
			}
		}
		assert.Equal(i.t, 7, seen, "%v", findings)
	}
}

// onlyWhoMayReaches asks a server from a pod of its namespace, which the chart lets in, and from one of another.
func (i *installation) onlyWhoMayReaches(ctx context.Context, servers map[string]string) {
	i.t.Helper()
	var address string
	for _, address = range servers {
		break
	}
	other := "stranger-of-" + i.prefix
	_, err := i.cluster.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: other}}, metav1.CreateOptions{})
	require.NoError(i.t, err)
	i.t.Cleanup(func() {
		assert.NoError(i.t, i.cluster.CoreV1().Namespaces().Delete(context.WithoutCancel(ctx), other, metav1.DeleteOptions{}))
	})
	for namespace, expected := range map[string]corev1.PodPhase{i.namespace: corev1.PodSucceeded, other: corev1.PodFailed} {
		yes, no, user := true, false, int64(serverUser)
		pod, err := i.cluster.CoreV1().Pods(namespace).Create(ctx, &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "asks"}, Spec: corev1.PodSpec{
			RestartPolicy: corev1.RestartPolicyNever, AutomountServiceAccountToken: &no,
			SecurityContext: &corev1.PodSecurityContext{RunAsNonRoot: &yes, RunAsUser: &user, SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault}},
			Containers: []corev1.Container{{Name: "asks", Image: i.image, Args: []string{"whoami", "--server", "http://" + address}, Env: []corev1.EnvVar{{Name: "WAYBILL_TOKEN", Value: i.token}},
				SecurityContext: &corev1.SecurityContext{AllowPrivilegeEscalation: &no, Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}}}}},
		}}, metav1.CreateOptions{})
		require.NoError(i.t, err)
		require.Eventually(i.t, func() bool {
			pod, err = i.cluster.CoreV1().Pods(namespace).Get(ctx, "asks", metav1.GetOptions{})
			return err == nil && (pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed)
		}, 3*time.Minute, 200*time.Millisecond)
		said, err := i.cluster.CoreV1().Pods(namespace).GetLogs("asks", &corev1.PodLogOptions{}).DoRaw(ctx)
		require.NoError(i.t, err)
		require.Equal(i.t, expected, pod.Status.Phase, "%s: %s", namespace, said)
		if expected == corev1.PodFailed {
			require.Contains(i.t, string(said), "does not answer")
		}
	}
}

// asking asks again and again, each time on a connection of its own, until it is stopped, and then says how often, and what failed.
func asking(ctx context.Context, at, token string) (stop func() (asked int, failed []string)) {
	ctx, cancel := context.WithCancel(ctx)
	var done sync.WaitGroup
	asked, failed := 0, []string{}
	done.Go(func() {
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			code, err := request(context.WithoutCancel(ctx), at, "GET", "/api/v1/whoami", token, nil, nil)
			asked++
			if err != nil || code != http.StatusOK {
				failed = append(failed, fmt.Sprintf("%s: %d %v", time.Now().Format("15:04:05.000"), code, err))
			}
		}
	})
	return func() (int, []string) {
		cancel()
		done.Wait()
		return asked, failed
	}
}

// goesOnAtTheOther kills one server without grace: the other answers all the while, and a new one comes.
func (i *installation) goesOnAtTheOther(ctx context.Context, servers map[string]string) (killed string) {
	i.t.Helper()
	var stays string
	for killed, stays = range servers {
		break
	}
	for name, at := range servers {
		if name != killed {
			stays = at
		}
	}
	stop := asking(ctx, stays, i.token)
	at := int64(0)
	require.NoError(i.t, i.cluster.CoreV1().Pods(i.namespace).Delete(ctx, killed, metav1.DeleteOptions{GracePeriodSeconds: &at}))
	require.Eventually(i.t, func() bool {
		now := i.servers(ctx)
		return len(now) == 2 && now[killed] == ""
	}, 2*time.Minute, 100*time.Millisecond, "another server takes its place")
	asked, failed := stop()
	i.t.Logf("%d requests at the other server while one was killed and replaced, %d failed", asked, len(failed))
	require.Empty(i.t, failed)
	require.Greater(i.t, asked, 10)
	return killed
}

// upgradesWithoutAGap replaces both servers while somebody asks whichever the service leads to.
func (i *installation) upgradesWithoutAGap(ctx context.Context) {
	i.t.Helper()
	before := i.servers(ctx)
	stop := asking(ctx, i.service(ctx), i.token)
	i.helm(ctx, "upgrade", "waybill", helm.Chart(), "--namespace", i.namespace, "--wait", "--timeout", "5m", "-f", i.values, "--set", "log=text", "--set-string", "quota.pods=100")
	require.Eventually(i.t, func() bool {
		pods, err := i.cluster.CoreV1().Pods(i.namespace).List(ctx, metav1.ListOptions{LabelSelector: "app.kubernetes.io/instance=waybill"})
		return err == nil && len(pods.Items) == 2
	}, 2*time.Minute, 200*time.Millisecond, "the old servers have gone")
	asked, failed := stop()
	i.t.Logf("%d requests while both servers were replaced, %d failed", asked, len(failed))
	require.Empty(i.t, failed)
	after := i.servers(ctx)
	require.Len(i.t, after, 2)
	for name := range before {
		require.Empty(i.t, after[name], "%s was replaced", name)
	}
	_, err := helm.Run(ctx, "upgrade", "waybill", helm.Chart(), "--namespace", i.namespace, "-f", i.values, "--set", "replicas=none")
	require.ErrorContains(i.t, err, "/replicas")
}

// goes takes the chart away: nothing of it is left, and what is the user's is.
func (i *installation) goes(ctx context.Context) {
	i.t.Helper()
	require.NotEmpty(i.t, i.left(ctx), "what is looked for is found while it is there")
	i.helm(ctx, "uninstall", "waybill", "--namespace", i.namespace, "--wait", "--cascade", "foreground", "--timeout", "3m")
	require.Eventually(i.t, func() bool { return len(i.left(ctx)) == 0 }, 2*time.Minute, time.Second, "%v", i.left(ctx))
	for _, name := range []string{"waybill-keys", "waybill-database"} {
		_, err := i.cluster.CoreV1().Secrets(i.namespace).Get(ctx, name, metav1.GetOptions{})
		require.NoError(i.t, err)
	}
	_, err := i.cluster.CoreV1().PersistentVolumeClaims(i.namespace).Get(ctx, "filestores", metav1.GetOptions{})
	require.NoError(i.t, err)
}

// left are the objects of the chart, of all kinds that the cluster knows, and Helm's own record of it.
func (i *installation) left(ctx context.Context) []string {
	i.t.Helper()
	groups, err := i.kinds.ServerPreferredResources()
	require.NoError(i.t, err)
	var all []string
	for _, g := range groups {
		version, err := schema.ParseGroupVersion(g.GroupVersion)
		require.NoError(i.t, err)
		for _, kind := range g.APIResources {
			if !slices.Contains(kind.Verbs, "list") || strings.Contains(kind.Name, "/") || version.Group == "metrics.k8s.io" {
				continue
			}
			var objects dynamic.ResourceInterface = i.objects.Resource(version.WithResource(kind.Name))
			if kind.Namespaced {
				objects = i.objects.Resource(version.WithResource(kind.Name)).Namespace(i.namespace)
			}
			found, err := objects.List(ctx, metav1.ListOptions{})
			require.NoError(i.t, err, kind.Name)
			for _, o := range found.Items {
				of, helms := o.GetLabels()["app.kubernetes.io/instance"], o.GetLabels()["owner"] == "helm"
				if kind.Namespaced && (of == "waybill" || helms) || o.GetName() == "waybill:"+i.prefix {
					all = append(all, o.GetKind()+" "+o.GetName())
				}
			}
		}
	}
	return all
}
