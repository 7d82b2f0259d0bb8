//go:build helm

package kube

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	rbacv1 "k8s.io/api/rbac/v1"

	"github.com/waybill-dev/waybill/test/chart/helm"
)

// So it does where filestores are in a bucket: nothing of volumes.
func TestChartGivesJustTheRightsWithABucket(t *testing.T) {
	objects, err := helm.Render(t.Context(), "-f", "../../../test/chart/testdata/least.yaml", "--set", "filestore.claim=,filestore.bucket=s3://files")
	require.NoError(t, err)
	require.Empty(t, helm.All[*rbacv1.Role](objects))
	require.Empty(t, helm.All[*rbacv1.RoleBinding](objects))
	asked := map[string][]string{}
	for _, need := range asking(t, nil, 404, inBucket).rights() {
		asked[" "+need.group+"/"+need.resource] = slices.Sorted(slices.Values(need.verbs))
	}
	given := grants("", helm.All[*rbacv1.ClusterRole](objects)[0].Rules)
	require.Equal(t, asked, given)
	require.NotContains(t, given, " /persistentvolumes")
}

// The chart gives what the server asks for at its start, and nothing else.
func TestChartGivesJustTheRights(t *testing.T) {
	for name, traefik := range map[string]Traefik{"without Traefik": {}, "with Traefik": {Namespace: "traefik"}, "with cert-manager": {Namespace: "traefik", TLSSecret: "s", Issuer: "letsencrypt"}} {
		t.Run(name, func(t *testing.T) {
			objects, err := helm.Render(t.Context(), "-f", "../../../test/chart/testdata/least.yaml",
				"--set", "traefik.namespace="+traefik.Namespace+",traefik.tlsSecret="+traefik.TLSSecret+",traefik.issuer="+traefik.Issuer)
			require.NoError(t, err)
			clusterwide, own := helm.All[*rbacv1.ClusterRole](objects), helm.All[*rbacv1.Role](objects)
			require.Len(t, clusterwide, 1)
			require.Len(t, own, 1)
			r := asking(t, nil, 404, func(o *Options) { o.Volume, o.Traefik = "waybill/filestores", traefik })
			asked := map[string][]string{}
			for _, need := range r.rights() {
				key := need.namespace + " " + need.group + "/" + need.resource
				asked[key] = slices.Sorted(slices.Values(append(asked[key], need.verbs...)))
			}
			given := grants("", clusterwide[0].Rules)
			for key, verbs := range grants(own[0].Namespace, own[0].Rules) {
				given[key] = verbs
			}
			require.Equal(t, asked, given)
			for _, rule := range own[0].Rules {
				require.Equal(t, []string{"filestores"}, rule.ResourceNames)
				require.True(t, slices.ContainsFunc(r.rights(), func(need right) bool { return need.name == "filestores" && need.namespace == own[0].Namespace }))
			}
			bound := helm.All[*rbacv1.ClusterRoleBinding](objects)
			require.Len(t, bound, 1)
			require.Equal(t, clusterwide[0].Name, bound[0].RoleRef.Name)
			here := helm.All[*rbacv1.RoleBinding](objects)
			require.Len(t, here, 1)
			require.Equal(t, own[0].Name, here[0].RoleRef.Name)
			require.Equal(t, bound[0].Subjects, here[0].Subjects)
		})
	}
}

func grants(namespace string, rules []rbacv1.PolicyRule) map[string][]string {
	all := map[string][]string{}
	for _, rule := range rules {
		for _, group := range rule.APIGroups {
			for _, resource := range rule.Resources {
				key := namespace + " " + group + "/" + resource
				all[key] = slices.Sorted(slices.Values(append(all[key], rule.Verbs...)))
			}
		}
	}
	return all
}
