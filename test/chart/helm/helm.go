// Package helm runs Helm on Waybill's chart, for tests: the one that WAYBILL_TEST_HELM names (hack/tools.sh helm).
package helm

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/yaml"
)

// Chart is the folder of Waybill's chart, above that in which a test runs.
func Chart() string {
	dir, err := os.Getwd()
	for ; err == nil && dir != "/"; dir = filepath.Dir(dir) {
		chart := filepath.Join(dir, "charts", "waybill")
		if _, err := os.Stat(filepath.Join(chart, "Chart.yaml")); err == nil {
			return chart
		}
	}
	return "charts/waybill"
}

// Run runs a command of Helm and returns what it says; its complaint is the error.
func Run(ctx context.Context, args ...string) ([]byte, error) {
	binary := os.Getenv("WAYBILL_TEST_HELM")
	if binary == "" {
		return nil, errors.New("WAYBILL_TEST_HELM is not set: WAYBILL_TEST_HELM=$(hack/tools.sh helm)/helm")
	}
	cmd := exec.CommandContext(ctx, binary, args...)
	var said, complaint bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &complaint
	if err := cmd.Run(); err != nil {
		return said.Bytes(), fmt.Errorf("helm %s: %w: %s", args[0], err, bytes.TrimSpace(complaint.Bytes()))
	}
	return said.Bytes(), nil
}

// oldest is the version of Kubernetes that the chart must do with.
const oldest = "1.29.0"

// Render is the chart's objects with the flags given, each read strictly: a field that Kubernetes does not know, or one that stands
// there twice, is an error. What is no kind of Kubernetes is there as YAML.
func Render(ctx context.Context, args ...string) ([]runtime.Object, error) {
	said, err := Run(ctx, append([]string{"template", "waybill", Chart(), "--namespace", "waybill", "--kube-version", oldest}, args...)...)
	if err != nil {
		return nil, err
	}
	decoder := serializer.NewCodecFactory(scheme.Scheme, serializer.EnableStrict).UniversalDeserializer()
	var all []runtime.Object
	for _, text := range bytes.Split(said, []byte("\n---\n")) {
		text = bytes.TrimPrefix(text, []byte("---\n"))
		var plain map[string]any
		if err := yaml.UnmarshalStrict(text, &plain); err != nil {
			return nil, fmt.Errorf("%w in\n%s", err, text)
		}
		if len(plain) == 0 {
			continue
		}
		one, _, err := decoder.Decode(text, nil, nil)
		if runtime.IsNotRegisteredError(err) {
			one, err = &unstructured.Unstructured{Object: plain}, nil
		}
		if err != nil {
			return nil, fmt.Errorf("%w in\n%s", err, text)
		}
		all = append(all, one)
	}
	return all, nil
}

// All are the objects of one kind.
func All[T runtime.Object](objects []runtime.Object) (found []T) {
	for _, o := range objects {
		if is, ok := o.(T); ok {
			found = append(found, is)
		}
	}
	return found
}
