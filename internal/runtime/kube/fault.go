package kube

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"regexp"
	"strings"
	"syscall"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/waybill-dev/waybill/internal/runtime"
)

// fault says what was tried when the cluster answered err, and what to do. A cluster that is away
// becomes runtime.ErrUnavailable.
func (r *Runtime) fault(err error, format string, args ...any) error {
	if err == nil {
		return nil
	}
	tried := fmt.Sprintf(format, args...)
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("%s: %w", tried, err)
	}
	if away(err) {
		return fmt.Errorf("%s: the Kubernetes API at %s does not answer: check that it runs and can be reached from here: %w: %w", tried, r.opt.Config.Host, err, runtime.ErrUnavailable)
	}
	if strings.Contains(err.Error(), "being terminated") { // another call takes the namespace away; the next try makes it anew
		return fmt.Errorf("%s: its namespace goes away just now: %w: %w", tried, err, runtime.ErrUnavailable)
	}
	if conflicts := ownerConflicts(err); len(conflicts) > 0 {
		return fmt.Errorf("%s: somebody else has set %s: take it out of what they apply, or hand the field over (kubectl apply --server-side --field-manager=waybill --force-conflicts), and try again: %w", tried, strings.Join(conflicts, ", and "), err)
	}
	if why := explain(err.Error()); why != "" {
		return fmt.Errorf("%s: %s: %w", tried, why, err)
	}
	switch {
	case apierrors.IsUnauthorized(err):
		return fmt.Errorf("%s: the cluster does not know who asks: check the kubeconfig, or the service account, and that its token is still good: %w", tried, err)
	case isNoResource(err):
		return fmt.Errorf("%s: the cluster has no such kind of object; for routes, install Traefik's CRDs (helm install traefik, or kubectl apply of its kubernetes-crd-definition-v1.yml), for certificates cert-manager's: %w", tried, err)
	}
	return fmt.Errorf("%s: %w", tried, err)
}

var (
	mayNot  = regexp.MustCompile(`(?:User|user) "([^"]*)" cannot (\S+) resource "([^"]*)" in API group "([^"]*)"`)
	webhook = regexp.MustCompile(`admission webhook "([^"]*)" denied the request`)
	policy  = regexp.MustCompile(`ValidatingAdmissionPolicy '([^']*)'`)
	calling = regexp.MustCompile(`failed calling webhook "([^"]*)"`)
)

// explain finds the cause in the words of the API server, which objects keep as reasons too. Empty: it
// says nothing that we could add to.
func explain(message string) string {
	if m := mayNot.FindStringSubmatch(message); m != nil {
		what, sub, _ := strings.Cut(m[3], "/")
		if sub != "" {
			what = m[3]
		}
		return fmt.Sprintf("%s may not do this: add to its role the rule apiGroups: [%q], resources: [%q], verbs: [%q] (docs/kubernetes.md lists all that are needed)", m[1], m[4], what, m[2])
	}
	if m := webhook.FindStringSubmatch(message); m != nil {
		return fmt.Sprintf("the cluster's admission webhook %s rejects it: ask who runs that webhook, or except Waybill's namespaces from it", m[1])
	}
	if m := calling.FindStringSubmatch(message); m != nil {
		return fmt.Sprintf("the cluster's admission webhook %s does not answer: mend it, or except Waybill's namespaces from it", m[1])
	}
	switch {
	case strings.Contains(message, "exceeded quota"):
		return "the namespace's quota is used up: raise it, or remove pools that nobody needs"
	case strings.Contains(message, "violates PodSecurity"):
		return "the namespace's Pod Security level forbids it: Waybill's pods need no more than restricted"
	case policy.MatchString(message):
		return fmt.Sprintf("the cluster's admission policy %s rejects it", policy.FindStringSubmatch(message)[1])
	case strings.Contains(message, "provided port is not in the valid range"):
		return "the port is none that nodes may listen on: give the environment's address one of the cluster's range for node ports"
	case strings.Contains(message, "provided port is already allocated"):
		return "the port is in use by another service of the cluster"
	}
	return ""
}

// ownerConflicts names the fields that another field manager holds, from the causes of a 409.
func ownerConflicts(err error) []string {
	var status apierrors.APIStatus
	if !apierrors.IsConflict(err) || !errors.As(err, &status) || status.Status().Details == nil {
		return nil
	}
	var all []string
	for _, c := range status.Status().Details.Causes {
		if c.Type == metav1.CauseTypeFieldManagerConflict {
			all = append(all, c.Field+" ("+c.Message+")")
		}
	}
	return all
}

// isNoResource tells a kind that the cluster does not have from an object that is not there.
func isNoResource(err error) bool {
	var status apierrors.APIStatus
	return apierrors.IsNotFound(err) && errors.As(err, &status) &&
		(status.Status().Details == nil || status.Status().Details.Name == "" || strings.Contains(err.Error(), "could not find the requested resource"))
}

// away tells whether the API server, not its answer, is what is wrong.
func away(err error) bool {
	var netErr net.Error
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, net.ErrClosed),
		errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return true
	case apierrors.IsServiceUnavailable(err), apierrors.IsServerTimeout(err), apierrors.IsTooManyRequests(err), apierrors.IsTimeout(err):
		return true
	case errors.As(err, &netErr):
		return true
	}
	msg := err.Error()
	return strings.Contains(msg, "http2: client connection") || strings.Contains(msg, "connection reset by peer") ||
		strings.Contains(msg, "etcdserver:") || strings.Contains(msg, "apiserver is shutting down")
}
