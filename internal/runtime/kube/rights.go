package kube

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// right is what may be done to a resource, in all namespaces: those of environments come and go.
type right struct {
	group, resource string
	verbs           []string
}

// rights are what this runtime needs. docs/kubernetes.md lists the same.
func (r *Runtime) rights() []right {
	made := []string{"get", "list", "create", "patch", "delete"}
	watched := append(slices.Clone(made), "watch")
	kept := []string{"get", "list", "create", "patch", "watch"}
	all := []right{
		{"", "namespaces", watched}, {"", "persistentvolumes", made}, {"", "nodes", []string{"list"}},
		{"admissionregistration.k8s.io", "validatingadmissionpolicies", kept},
		{"admissionregistration.k8s.io", "validatingadmissionpolicybindings", kept},
		{"apps", "deployments", watched}, {"", "services", watched}, {"", "secrets", watched}, {"batch", "jobs", made},
		{"policy", "poddisruptionbudgets", watched}, {"", "pods", made}, {"", "pods/log", []string{"get"}},
		{"apps", "replicasets", []string{"list", "delete"}}, {"", "events", []string{"list"}},
		{"", "configmaps", kept}, {"", "serviceaccounts", kept}, {"", "resourcequotas", kept}, {"", "limitranges", kept},
		{"networking.k8s.io", "networkpolicies", kept}, {"", "persistentvolumeclaims", []string{"create", "patch"}},
	}
	if strings.Contains(r.opt.Volume, "/") {
		all = append(all, right{"", "persistentvolumeclaims", []string{"get"}})
	}
	if r.opt.Traefik.Namespace != "" {
		all = append(all, right{"traefik.io", "ingressroutes", watched}, right{"traefik.io", "middlewares", watched})
		if r.opt.Traefik.Issuer != "" {
			all = append(all, right{"cert-manager.io", "certificates", watched})
		}
	}
	return all
}

var reviewsResource = schema.GroupVersionResource{Group: "authorization.k8s.io", Version: "v1", Resource: "selfsubjectaccessreviews"}

// checkRights asks the cluster for every right at once, and names all that are missing as the rules to add.
func (r *Runtime) checkRights(ctx context.Context) error {
	all := r.rights()
	missing := make([]right, len(all))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(8)
	for i, need := range all {
		g.Go(func() error {
			missing[i] = right{group: need.group, resource: need.resource}
			for _, verb := range need.verbs {
				may, err := r.may(ctx, need.group, need.resource, verb)
				if err != nil {
					return err
				}
				if !may {
					missing[i].verbs = append(missing[i].verbs, verb)
				}
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	var rules []string
	for _, m := range missing {
		if len(m.verbs) > 0 {
			rules = append(rules, fmt.Sprintf("apiGroups: [%q], resources: [%q], verbs: [%s]", m.group, m.resource, quoted(m.verbs)))
		}
	}
	if len(rules) == 0 {
		return nil
	}
	return fmt.Errorf("rights are missing in the cluster at %s: add to a ClusterRole, and bind it to whom the kubeconfig or the service account names (docs/kubernetes.md lists all that are needed):\n- %s",
		r.opt.Config.Host, strings.Join(rules, "\n- "))
}

func quoted(words []string) string {
	all := slices.Clone(words)
	for i, w := range all {
		all[i] = `"` + w + `"`
	}
	return strings.Join(all, ", ")
}

func (r *Runtime) may(ctx context.Context, group, resource, verb string) (bool, error) {
	resource, sub, _ := strings.Cut(resource, "/")
	review := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview",
		"spec": map[string]any{"resourceAttributes": map[string]any{"group": group, "resource": resource, "subresource": sub, "verb": verb}}}}
	answer, err := r.api.Resource(reviewsResource).Create(ctx, review, metav1.CreateOptions{})
	if err != nil {
		return false, r.fault(err, "ask the cluster what Waybill may do")
	}
	allowed, _, err := unstructured.NestedBool(answer.Object, "status", "allowed")
	return allowed, err
}

// checkKinds looks whether the cluster knows the kinds that routes are made of.
func (r *Runtime) checkKinds(ctx context.Context) error {
	t := r.opt.Traefik
	if t.Namespace == "" {
		return nil
	}
	if err := r.hasGroup(ctx, resources[kindIngressRoute], "Traefik's kinds of objects are missing in the cluster at %s: install them (helm install traefik, or kubectl apply of its kubernetes-crd-definition-v1.yml), or give no Traefik namespace"); err != nil || t.Issuer == "" {
		return err
	}
	return r.hasGroup(ctx, resources[kindCertificate], "cert-manager's kinds of objects are missing in the cluster at %s: install it, or name a TLS secret in the place of an issuer")
}

func (r *Runtime) hasGroup(ctx context.Context, kind kindInfo, otherwise string) error {
	// Any list of a kind that is not there answers 404; one that may not be listed answers 403, and is there.
	_, err := r.api.Resource(schema.GroupVersionResource{Group: kind.group, Version: kind.version, Resource: kind.plural}).List(ctx, metav1.ListOptions{Limit: 1})
	var status apierrors.APIStatus
	if errors.As(err, &status) {
		switch status.Status().Code {
		case http.StatusNotFound:
			return fmt.Errorf(otherwise, r.opt.Config.Host)
		case http.StatusForbidden:
			return nil
		}
	}
	return r.fault(err, "look for the kind %s.%s", kind.plural, kind.group)
}
