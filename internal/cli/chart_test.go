//go:build helm

package cli

import (
	"testing"

	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"

	"github.com/waybill-dev/waybill/test/chart/helm"
)

// The server takes what the chart gives it.
func TestChartGivesFlagsThatThereAre(t *testing.T) {
	for _, values := range []string{"least", "all"} {
		objects, err := helm.Render(t.Context(), "-f", "../../test/chart/testdata/"+values+".yaml")
		require.NoError(t, err)
		d := helm.All[*appsv1.Deployment](objects)
		require.Len(t, d, 1)
		serve, flags, err := (&app{}).root().Find(d[0].Spec.Template.Spec.Containers[0].Args)
		require.NoError(t, err)
		require.Equal(t, "serve", serve.Name())
		require.NoError(t, serve.ParseFlags(flags))
		require.Empty(t, serve.Flags().Args())
		require.Equal(t, "/var/lib/waybill", serve.Flag("data").Value.String())
		if values == "all" {
			require.Equal(t, "[10.0.0.0/16,fd00::/8]", serve.Flag("trusted-proxies").Value.String())
			require.Contains(t, serve.Flag("quota").Value.String(), "requests.memory=64Gi")
		}
	}
}
