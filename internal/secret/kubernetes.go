package secret

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// secrets are read without client-go's typed clients: those bring every kind that Kubernetes knows into this program, and into
// every start of it.
var secrets = schema.GroupVersionResource{Version: "v1", Resource: "secrets"}

// answers is how long the API server is waited for.
const answers = 10 * time.Second

// fromKubernetes reads a key of a Secret (NAMESPACE/NAME/KEY) from the cluster that the server runs in, or that its kubeconfig
// names ($KUBECONFIG, or ~/.kube/config). All that it needs to be allowed there is to get this one Secret.
func fromKubernetes(ctx context.Context, path string) (string, error) {
	parts := strings.SplitN(path, "/", 3)
	namespace, name, key := parts[0], parts[1], parts[2]
	config, err := cluster()
	if err != nil {
		return "", err
	}
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(ctx, answers)
	defer cancel()
	found, err := client.Resource(secrets).Namespace(namespace).Get(ctx, name, metav1.GetOptions{})
	switch {
	case apierrors.IsForbidden(err):
		return "", fmt.Errorf("it is not allowed there: give the server's service account a Role in namespace %s with apiGroups [\"\"], resources [secrets], resourceNames [%s], verbs [get]", namespace, name)
	case apierrors.IsUnauthorized(err):
		return "", errors.New("the cluster does not know who asks: the kubeconfig's credentials, or the service account's, are not valid there")
	case apierrors.IsNotFound(err):
		return "", fmt.Errorf("namespace %s has no Secret %s", namespace, name)
	case err != nil:
		return "", err
	}
	encoded, there, err := unstructured.NestedString(found.Object, "data", key)
	if err != nil || !there {
		return "", fmt.Errorf("the Secret has no key %s", key)
	}
	value, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		return "", fmt.Errorf("the Secret's key %s: %w", key, err)
	}
	return string(value), nil
}

// cluster is the one that the server runs in, or that a kubeconfig names, which counts more.
func cluster() (*rest.Config, error) {
	loader := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(clientcmd.NewDefaultClientConfigLoadingRules(), nil)
	config, err := loader.ClientConfig() // inside of a cluster too, where there is no kubeconfig
	if clientcmd.IsEmptyConfig(err) || errors.Is(err, rest.ErrNotInCluster) {
		return nil, errors.New("the server neither runs in a cluster nor has a kubeconfig; set KUBECONFIG where it is started, or keep the secret as env:NAME or file:PATH")
	}
	if err != nil {
		return nil, fmt.Errorf("the kubeconfig: %w", err)
	}
	config.UserAgent = "waybill"
	return config, nil
}
