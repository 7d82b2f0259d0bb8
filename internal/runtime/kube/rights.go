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

// right is what may be done to a resource, in all namespaces, since those of environments come and go, or to one object of one namespace.
type right struct {
	group, resource string
	verbs           []string
	namespace, name string // empty: all
}

// rights are what this runtime needs. docs/kubernetes.md lists the same.
func (r *Runtime) rights() []right {
	made := []string{"get", "list", "create", "patch", "delete"}
	watched := append(slices.Clone(made), "watch")
	kept := []string{"get", "list", "create", "patch", "watch"}
	all := []right{
		everywhere("", "namespaces", watched...), everywhere("", "nodes", "list"),
		everywhere("admissionregistration.k8s.io", "validatingadmissionpolicies", kept...),
		everywhere("admissionregistration.k8s.io", "validatingadmissionpolicybindings", kept...),
		everywhere("apps", "deployments", watched...), everywhere("", "services", watched...), everywhere("", "secrets", watched...), everywhere("batch", "jobs", made...),
		everywhere("policy", "poddisruptionbudgets", watched...), everywhere("autoscaling", "horizontalpodautoscalers", watched...), everywhere("", "pods", made...), everywhere("", "pods/log", "get"),
		everywhere("apps", "replicasets", "list", "delete"), everywhere("", "events", "list"),
		everywhere("", "configmaps", kept...), everywhere("", "serviceaccounts", kept...), everywhere("", "resourcequotas", kept...), everywhere("", "limitranges", kept...),
		everywhere("networking.k8s.io", "networkpolicies", kept...),
	}
	if r.opt.Filestores == nil {
		all = append(all, everywhere("", "persistentvolumes", made...), everywhere("", "persistentvolumeclaims", "create", "patch"))
	}
	if namespace, claim, ok := strings.Cut(r.opt.Volume, "/"); ok {
		all = append(all, right{"", "persistentvolumeclaims", []string{"get"}, namespace, claim})
	}
	if r.opt.Traefik.Namespace != "" {
		all = append(all, everywhere("traefik.io", "ingressroutes", watched...), everywhere("traefik.io", "middlewares", watched...))
		if r.opt.Traefik.Issuer != "" {
			all = append(all, everywhere("cert-manager.io", "certificates", watched...))
		}
	}
	return all
}

func everywhere(group, resource string, verbs ...string) right {
	return right{group: group, resource: resource, verbs: verbs}
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
			missing[i] = right{group: need.group, resource: need.resource, namespace: need.namespace, name: need.name}
			for _, verb := range need.verbs {
				may, err := r.may(ctx, need, verb)
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
			rule := fmt.Sprintf("apiGroups: [%q], resources: [%q], verbs: [%s]", m.group, m.resource, quoted(m.verbs))
			if m.namespace != "" {
				rule = fmt.Sprintf("%s, resourceNames: [%q] (a Role in namespace %s is enough)", rule, m.name, m.namespace)
			}
			rules = append(rules, rule)
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

func (r *Runtime) may(ctx context.Context, need right, verb string) (bool, error) {
	resource, sub, _ := strings.Cut(need.resource, "/")
	review := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview",
		"spec": map[string]any{"resourceAttributes": map[string]any{"namespace": need.namespace, "name": need.name, "group": need.group, "resource": resource, "subresource": sub, "verb": verb}}}}
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
