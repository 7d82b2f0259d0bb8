package kube

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/internal/drift"
)

func TestRendered(t *testing.T) {
	object := func(kind, namespace, name string) drift.Object {
		return drift.Object{APIVersion: "v1", Kind: kind, Namespace: namespace, Name: name}
	}
	files, err := rendered([]Declared{
		{Object: object(kindService, "w-production", "pool-r1"), Environment: "production", Manifest: []byte(`{"spec":{"ports":[{"port":8069}]},"kind":"Service","apiVersion":"v1"}`)},
		{Object: object(kindSecret, "w-production", "pool-r1"), Environment: "production", Manifest: []byte(`{"apiVersion":"v1","kind":"Secret","data":{"pool.json":"c2VjcmV0","odoo.conf":"aHVudGVyMg=="},"stringData":{"token":"hunter3"},"type":"Opaque"}`)},
		{Object: object(kindNamespace, "", "w-production"), Environment: "production", Manifest: []byte(`{"kind":"Namespace"}`)},
		{Object: object(kindNamespace, "", "w-0-rehearsal-x1"), Environment: "0-rehearsal-x1", Manifest: []byte(`{"kind":"Namespace"}`)},
		{Object: object(kindAdmission, "", "w-digests"), Manifest: []byte(`{"kind":"ValidatingAdmissionPolicy"}`)},
	})
	require.NoError(t, err)
	got := map[string]string{}
	for name, content := range files {
		got[name] = string(content)
	}
	require.Equal(t, map[string]string{
		"production/w-production/service-pool-r1.yaml": "apiVersion: v1\nkind: Service\nspec:\n  ports:\n  - port: 8069\n",
		"production/w-production/secret-pool-r1.yaml": "# It holds odoo.conf, which is written down nowhere.\n# It holds pool.json, which is written down nowhere.\n" +
			"# It holds token, which is written down nowhere.\napiVersion: v1\nkind: Secret\ntype: Opaque\n",
		"production/namespace-w-production.yaml":           "kind: Namespace\n",
		"cluster/validatingadmissionpolicy-w-digests.yaml": "kind: ValidatingAdmissionPolicy\n",
	}, got)

	_, err = rendered([]Declared{{Object: object(kindService, "n", "x"), Manifest: []byte("{")}})
	require.ErrorContains(t, err, "Service n/x")
}
