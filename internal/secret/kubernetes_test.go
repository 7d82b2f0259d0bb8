//go:build kube

package secret

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	authenticationv1 "k8s.io/api/authentication/v1"
	core "k8s.io/api/core/v1"
	rbac "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"
)

// The cluster of $KUBECONFIG, which hack/test.sh kube brings up: read with the rights that docs/secrets.md asks for, and with
// none.
func TestKubernetes(t *testing.T) {
	config, err := clientcmd.BuildConfigFromFlags("", os.Getenv("KUBECONFIG"))
	require.NoError(t, err)
	client, err := kubernetes.NewForConfig(config)
	require.NoError(t, err)
	ctx := t.Context()
	created, err := client.CoreV1().Namespaces().Create(ctx, &core.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "waybill-secret-"}}, metav1.CreateOptions{})
	require.NoError(t, err)
	namespace := created.Name
	t.Cleanup(func() {
		require.NoError(t, client.CoreV1().Namespaces().Delete(context.WithoutCancel(ctx), namespace, metav1.DeleteOptions{}))
	})
	for _, name := range []string{"pg", "other"} {
		_, err = client.CoreV1().Secrets(namespace).Create(ctx, &core.Secret{ObjectMeta: metav1.ObjectMeta{Name: name},
			StringData: map[string]string{"password": "hunter2\n", "lines": "a\nb"}}, metav1.CreateOptions{})
		require.NoError(t, err)
	}
	_, err = client.CoreV1().ServiceAccounts(namespace).Create(ctx, &core.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "waybill"}}, metav1.CreateOptions{})
	require.NoError(t, err)
	token, err := client.CoreV1().ServiceAccounts(namespace).CreateToken(ctx, "waybill", &authenticationv1.TokenRequest{}, metav1.CreateOptions{})
	require.NoError(t, err)

	as := func(token string) {
		file := filepath.Join(t.TempDir(), "config")
		require.NoError(t, clientcmd.WriteToFile(api.Config{
			Clusters:       map[string]*api.Cluster{"c": {Server: config.Host, CertificateAuthorityData: config.CAData, CertificateAuthority: config.CAFile}},
			AuthInfos:      map[string]*api.AuthInfo{"u": {Token: token}},
			Contexts:       map[string]*api.Context{"x": {Cluster: "c", AuthInfo: "u"}},
			CurrentContext: "x",
		}, file))
		t.Setenv("KUBECONFIG", file)
	}
	refused := func(reference, want string) {
		t.Helper()
		_, err := Read(ctx, "", reference)
		require.ErrorContains(t, err, want)
		require.NotContains(t, err.Error(), "hunter2")
	}

	as(token.Status.Token)
	refused("kubernetes:"+namespace+"/pg/password", "a Role in namespace "+namespace+" with apiGroups [\"\"], resources [secrets], resourceNames [pg], verbs [get]")
	// What the message asks for is enough, and for nothing else.
	_, err = client.RbacV1().Roles(namespace).Create(ctx, &rbac.Role{ObjectMeta: metav1.ObjectMeta{Name: "pg"},
		Rules: []rbac.PolicyRule{{APIGroups: []string{""}, Resources: []string{"secrets"}, ResourceNames: []string{"pg", "gone"}, Verbs: []string{"get"}}}}, metav1.CreateOptions{})
	require.NoError(t, err)
	_, err = client.RbacV1().RoleBindings(namespace).Create(ctx, &rbac.RoleBinding{ObjectMeta: metav1.ObjectMeta{Name: "pg"},
		RoleRef:  rbac.RoleRef{APIGroup: rbac.GroupName, Kind: "Role", Name: "pg"},
		Subjects: []rbac.Subject{{Kind: rbac.ServiceAccountKind, Name: "waybill", Namespace: namespace}}}, metav1.CreateOptions{})
	require.NoError(t, err)
	require.Eventually(t, func() bool { // the authoriser learns of it by a watch
		value, err := Read(ctx, "", "kubernetes:"+namespace+"/pg/password")
		return err == nil && value == "hunter2"
	}, answers, answers/100)
	refused("kubernetes:"+namespace+"/other/password", "it is not allowed there")
	refused("kubernetes:"+namespace+"/gone/password", "namespace "+namespace+" has no Secret gone")
	refused("kubernetes:"+namespace+"/pg/user", "the Secret has no key user")
	refused("kubernetes:"+namespace+"/pg/lines", "one line with the secret expected")

	as("ey.not.valid")
	refused("kubernetes:"+namespace+"/pg/password", "the cluster does not know who asks")

	// Changed there, the next reader has it.
	as(token.Status.Token)
	_, err = client.CoreV1().Secrets(namespace).Update(ctx, &core.Secret{ObjectMeta: metav1.ObjectMeta{Name: "pg"}, StringData: map[string]string{"password": "other"}}, metav1.UpdateOptions{})
	require.NoError(t, err)
	value, err := Read(ctx, "", "kubernetes:"+namespace+"/pg/password")
	require.NoError(t, err)
	require.Equal(t, "other", value)
}
