//go:build helm

// Package chart tests what Waybill's chart makes of its values, without a cluster.
package chart

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/waybill-dev/waybill/internal/estate"
	"github.com/waybill-dev/waybill/test/chart/helm"
)

const prometheus = "--api-versions=monitoring.coreos.com/v1/ServiceMonitor"

func render(t *testing.T, args ...string) []runtime.Object {
	t.Helper()
	objects, err := helm.Render(t.Context(), args...)
	require.NoError(t, err)
	return objects
}

func one[T runtime.Object](t *testing.T, objects []runtime.Object) T {
	t.Helper()
	all := helm.All[T](objects)
	require.Len(t, all, 1)
	return all[0]
}

func kinds(t *testing.T, objects []runtime.Object) []string {
	t.Helper()
	var all []string
	for _, o := range objects {
		named, err := meta.Accessor(o)
		require.NoError(t, err)
		all = append(all, o.GetObjectKind().GroupVersionKind().Kind+" "+named.GetName())
	}
	slices.Sort(all)
	return all
}

func TestLint(t *testing.T) {
	for _, values := range []string{"least", "all"} {
		_, err := helm.Run(t.Context(), "lint", helm.Chart(), "--strict", "--kube-version", "1.29.0", "-f", "testdata/"+values+".yaml")
		require.NoError(t, err)
	}
}

func TestWhatIsMade(t *testing.T) {
	always := []string{"ClusterRole waybill:waybill", "ClusterRoleBinding waybill:waybill", "ConfigMap waybill-estate", "Deployment waybill", "NetworkPolicy waybill",
		"PodDisruptionBudget waybill", "Role waybill", "RoleBinding waybill", "Service waybill", "ServiceAccount waybill"}
	least := render(t, "-f", "testdata/least.yaml", prometheus)
	require.Equal(t, always, kinds(t, least))
	all := render(t, "-f", "testdata/all.yaml", prometheus)
	require.Equal(t, []string{"ClusterRole waybill:acme", "ClusterRoleBinding waybill:acme", "Deployment waybill", "Ingress waybill", "NetworkPolicy waybill",
		"PodDisruptionBudget waybill", "Role waybill", "RoleBinding waybill", "Service waybill", "Service waybill-metrics", "ServiceAccount waybill", "ServiceMonitor waybill"}, kinds(t, all))
	require.NotContains(t, kinds(t, render(t, "-f", "testdata/all.yaml")), "ServiceMonitor waybill", "the cluster does not know the kind")
	for _, o := range append(least, all...) {
		named, err := meta.Accessor(o)
		require.NoError(t, err)
		require.Equal(t, "waybill", named.GetLabels()["app.kubernetes.io/instance"], "whoever takes the chart away finds %s", named.GetName())
	}
	other, err := helm.Run(t.Context(), "template", "acme", helm.Chart(), "--kube-version", "1.29.0", "-f", "testdata/least.yaml")
	require.NoError(t, err)
	require.Contains(t, string(other), "\n  name: acme-waybill\n")
}

// Whatever the values are: nothing that Pod Security's level restricted refuses, no secret in an argument, and all that a pod names is there.
func TestThePod(t *testing.T) {
	for _, values := range []string{"least", "all"} {
		t.Run(values, func(t *testing.T) {
			objects := render(t, "-f", "testdata/"+values+".yaml", prometheus)
			d := one[*appsv1.Deployment](t, objects)
			pod := d.Spec.Template.Spec
			require.Len(t, pod.Containers, 1)
			c := pod.Containers[0]

			require.True(t, *pod.SecurityContext.RunAsNonRoot)
			require.EqualValues(t, 65532, *pod.SecurityContext.RunAsUser)
			require.EqualValues(t, 65532, *pod.SecurityContext.FSGroup, "what the keys are readable for")
			require.Equal(t, corev1.SeccompProfileTypeRuntimeDefault, pod.SecurityContext.SeccompProfile.Type)
			require.True(t, *c.SecurityContext.ReadOnlyRootFilesystem)
			require.False(t, *c.SecurityContext.AllowPrivilegeEscalation)
			require.Equal(t, []corev1.Capability{"ALL"}, c.SecurityContext.Capabilities.Drop)
			require.NotEmpty(t, c.Resources.Requests)
			require.NotEmpty(t, c.Resources.Limits)

			require.Equal(t, "/livez", c.LivenessProbe.HTTPGet.Path)
			require.Equal(t, "/livez", c.StartupProbe.HTTPGet.Path)
			require.Equal(t, "/healthz", c.ReadinessProbe.HTTPGet.Path)
			scheme := corev1.URISchemeHTTP
			if values == "all" {
				scheme = corev1.URISchemeHTTPS
			}
			require.Equal(t, scheme, c.ReadinessProbe.HTTPGet.Scheme)
			require.NotNil(t, c.Lifecycle.PreStop)
			require.Greater(t, *pod.TerminationGracePeriodSeconds, int64(35), "what a server takes to stop, and what it waits before")

			for _, arg := range c.Args {
				for _, secret := range []string{"database", "password", "token"} {
					require.NotContains(t, arg, secret)
				}
			}
			require.Equal(t, "serve", c.Args[0])
			require.Contains(t, c.Args, "--runtime=kube")
			require.Contains(t, c.Args, "--volume=waybill/filestores")
			i := slices.IndexFunc(c.Env, func(e corev1.EnvVar) bool { return e.Name == "WAYBILL_DATABASE_URL" })
			require.GreaterOrEqual(t, i, 0)
			require.Equal(t, "waybill-database", c.Env[i].ValueFrom.SecretKeyRef.Name)

			volumes := map[string]corev1.VolumeSource{}
			for _, v := range pod.Volumes {
				volumes[v.Name] = v.VolumeSource
			}
			require.Len(t, c.VolumeMounts, len(volumes))
			for _, m := range c.VolumeMounts {
				source, there := volumes[m.Name]
				require.True(t, there, m.Name)
				require.Equal(t, source.Secret != nil || source.ConfigMap != nil, m.ReadOnly, m.Name)
				if source.Secret != nil {
					require.EqualValues(t, 0o440, *source.Secret.DefaultMode, "%s: others cannot read it", m.Name)
				}
				require.Nil(t, source.HostPath)
			}
			require.Equal(t, "/var/lib/waybill/keys", c.VolumeMounts[slices.IndexFunc(c.VolumeMounts, func(m corev1.VolumeMount) bool { return m.Name == "keys" })].MountPath)
		})
	}
}

// Two servers that are never both away for one reason.
func TestApart(t *testing.T) {
	objects := render(t, "-f", "testdata/least.yaml")
	d := one[*appsv1.Deployment](t, objects)
	require.EqualValues(t, 2, *d.Spec.Replicas)
	require.Equal(t, "0", d.Spec.Strategy.RollingUpdate.MaxUnavailable.String())
	pods := labels.Set(d.Spec.Template.Labels)
	matches := func(s *metav1.LabelSelector) {
		t.Helper()
		selector, err := metav1.LabelSelectorAsSelector(s)
		require.NoError(t, err)
		require.False(t, selector.Empty())
		require.True(t, selector.Matches(pods))
	}
	matches(d.Spec.Selector)
	require.NotContains(t, d.Spec.Selector.MatchLabels, "helm.sh/chart", "a selector cannot be changed by an upgrade")
	require.Len(t, d.Spec.Template.Spec.TopologySpreadConstraints, 2)
	for _, c := range d.Spec.Template.Spec.TopologySpreadConstraints {
		matches(c.LabelSelector)
	}
	budget := one[*policyv1.PodDisruptionBudget](t, objects)
	matches(budget.Spec.Selector)
	require.Equal(t, "1", budget.Spec.MaxUnavailable.String())
	policy := one[*networkingv1.NetworkPolicy](t, objects)
	matches(&policy.Spec.PodSelector)
	for _, s := range helm.All[*corev1.Service](objects) {
		matches(&metav1.LabelSelector{MatchLabels: s.Spec.Selector})
		require.Equal(t, d.Spec.Template.Spec.Containers[0].Ports[0].Name, s.Spec.Ports[0].TargetPort.String())
	}
}

func TestNetworkPolicy(t *testing.T) {
	least := one[*networkingv1.NetworkPolicy](t, render(t, "-f", "testdata/least.yaml")).Spec
	require.ElementsMatch(t, []networkingv1.PolicyType{networkingv1.PolicyTypeIngress, networkingv1.PolicyTypeEgress}, least.PolicyTypes)
	require.Len(t, least.Ingress, 2)
	require.Equal(t, map[string]string{"waybill.dev/instance": "waybill", "waybill.dev/role": "rehearsal"}, least.Ingress[0].From[0].NamespaceSelector.MatchLabels)
	require.Greater(t, least.Ingress[0].Ports[0].Port.IntVal, int32(7481), "a rehearsal reaches its server, and neither API nor metrics")
	require.Equal(t, "7480", least.Ingress[1].Ports[0].Port.String())
	require.NotEmpty(t, least.Ingress[1].From, "an empty list is everybody")
	pools := least.Egress[1].To[0].NamespaceSelector.MatchLabels
	require.Equal(t, map[string]string{"waybill.dev/instance": "waybill"}, pools)
	for _, rule := range least.Egress {
		require.NotEmpty(t, rule.To)
	}
	all := one[*networkingv1.NetworkPolicy](t, render(t, "-f", "testdata/all.yaml")).Spec
	require.Len(t, all.Ingress, 3)
	require.Equal(t, "7481", all.Ingress[2].Ports[0].Port.String())
	nobody := one[*networkingv1.NetworkPolicy](t, render(t, "-f", "testdata/all.yaml", "--set-json", "networkPolicy.from=[]", "--set-json", "networkPolicy.metricsFrom=[]")).Spec
	require.Len(t, nobody.Ingress, 1, "a rehearsal's pods alone")
	require.Empty(t, helm.All[*networkingv1.NetworkPolicy](render(t, "-f", "testdata/least.yaml", "--set", "networkPolicy.enabled=false")))
}

func TestMetrics(t *testing.T) {
	objects := render(t, "-f", "testdata/all.yaml", prometheus)
	monitor := one[*unstructured.Unstructured](t, objects)
	selected, _, err := unstructured.NestedStringMap(monitor.Object, "spec", "selector", "matchLabels")
	require.NoError(t, err)
	ends, _, err := unstructured.NestedSlice(monitor.Object, "spec", "endpoints")
	require.NoError(t, err)
	found := 0
	for _, s := range helm.All[*corev1.Service](objects) {
		if labels.SelectorFromSet(selected).Matches(labels.Set(s.Labels)) {
			found++
			require.Equal(t, ends[0].(map[string]any)["port"], s.Spec.Ports[0].Name)
		}
	}
	require.Equal(t, 1, found)
}

// What the chart writes of the repository is an estate that Waybill reads.
func TestTheEstatesRepository(t *testing.T) {
	objects := render(t, "-f", "testdata/least.yaml")
	config := one[*corev1.ConfigMap](t, objects)
	files := map[string][]byte{}
	for name, content := range estate.Skeleton("shop") {
		if filepath.Ext(name) == ".yaml" {
			files[name] = []byte(content)
		}
	}
	for name, content := range config.Data {
		files[name] = []byte(content)
	}
	read, err := estate.Parse(files)
	require.NoError(t, err)
	require.Equal(t, "https://waybill@git.example.com/acme/estate.git", read.Repository.Remote)
	d := one[*appsv1.Deployment](t, objects)
	other := one[*appsv1.Deployment](t, render(t, "-f", "testdata/least.yaml", "--set", "estate.repository.branch=next"))
	require.NotEqual(t, d.Spec.Template.Annotations, other.Spec.Template.Annotations, "the server reads it at its start only")
}

// Where filestores are in a bucket there is no volume, neither in the pods nor among the rights.
func TestFilestoresInABucket(t *testing.T) {
	objects := render(t, "-f", "testdata/least.yaml", "--set", "filestore.claim=,filestore.bucket=s3://files?region=eu-central-1")
	pod := one[*appsv1.Deployment](t, objects).Spec.Template.Spec
	require.Contains(t, pod.Containers[0].Args, "--filestores=s3://files?region=eu-central-1")
	for _, arg := range pod.Containers[0].Args {
		require.NotContains(t, arg, "--volume")
	}
	for _, v := range pod.Volumes {
		require.Nil(t, v.PersistentVolumeClaim, v.Name)
	}
	require.Len(t, pod.Containers[0].VolumeMounts, len(pod.Volumes))
}

// Each bad value is one error that says which, and what was expected.
func TestBadValues(t *testing.T) {
	for set, says := range map[string]string{
		"image=":                      "image: where make image",
		"database.secret=":            "database.secret",
		"registry.url=":               "registry.url",
		"registry.url=https://r/x":    "/registry/url",
		"bucket=":                     "bucket: where checkpoints are kept",
		"bucket=s3://key:secret@b":    "/bucket",
		"filestore.claim=":            "filestore.claim",
		"filestore.bucket=s3://files": "not both",
		"filestore.claim=,filestore.bucket=s3://checkpoints?region=eu-central-1": "filestore.bucket: another bucket",
		"estate.configMap=e":                  "not both",
		"estate.repository.remote=":           "estate.repository.remote",
		"replicas=0":                          "/replicas",
		"replicas=two":                        "/replicas",
		"replica=3":                           "replica",
		"user=0":                              "/user",
		"namespacePrefix=Waybill":             "/namespacePrefix",
		"log=xml":                             "/log",
		"traefik.issuer=letsencrypt":          "traefik.namespace",
		"traefik.networks={traefik}":          "/traefik/networks/0",
		"oidc.issuer=https://id":              "oidc.client and publicURL",
		"ingress.enabled=true":                "ingress.host",
		"metrics.serviceMonitor.enabled=true": "metrics.enabled: true",
		"database.password=secret":            "password",
		"keysSecret=":                         "/keysSecret",
	} {
		t.Run(set, func(t *testing.T) {
			_, err := helm.Render(t.Context(), "-f", "testdata/least.yaml", "--set", set)
			require.ErrorContains(t, err, says)
		})
	}
	_, err := helm.Render(t.Context())
	for _, needed := range []string{"image", "database.secret", "registry.url", "bucket", "filestore.claim", "estate.configMap"} {
		require.ErrorContains(t, err, "- "+needed)
	}
}

// Each value of values.yaml is in the schema, and the other way round.
func TestTheSchemaNamesEveryValue(t *testing.T) {
	content, err := os.ReadFile(filepath.Join(helm.Chart(), "values.schema.json"))
	require.NoError(t, err)
	var schema map[string]any
	require.NoError(t, json.Unmarshal(content, &schema))
	said, err := helm.Run(t.Context(), "show", "values", helm.Chart())
	require.NoError(t, err)
	for name := range schema["properties"].(map[string]any) {
		if name != "global" {
			require.Contains(t, "\n"+string(said), "\n"+name+":")
		}
	}
	// The other way round Helm looks itself: the schema allows nothing that it does not name.
	require.Equal(t, false, schema["additionalProperties"])
}

// Secrets are named, never made.
func TestNoSecretInTheChart(t *testing.T) {
	err := filepath.WalkDir(helm.Chart(), func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		if strings.Contains(string(content), "kind: Secret\n") {
			return fmt.Errorf("%s makes a Secret: its content would be in the values, and in Helm's record of the release", path)
		}
		return err
	})
	require.NoError(t, err)
}
