package kube

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"github.com/waybill-dev/waybill/internal/runtime"
)

// answering is a runtime whose API server gives one answer to everything, in the words of a real one.
func answering(t *testing.T, status int, body string) *Runtime {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}))
	t.Cleanup(s.Close)
	r, err := New(Options{Config: &rest.Config{Host: s.URL}, Prefix: "waybill", Volume: "v", DataDir: t.TempDir(), UID: 1, GID: 1, Patience: time.Millisecond})
	require.NoError(t, err)
	return r
}

func TestRefusalsSayWhatToDo(t *testing.T) {
	m, _ := example(sharedGroup)
	o := m.service("x", nil, 8069, 0)
	for name, c := range map[string]struct {
		status     int
		body, says string
	}{
		"rights": {403, `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"Forbidden","code":403,"message":"services \"x\" is forbidden: User \"system:serviceaccount:waybill:waybill\" cannot patch resource \"services\" in API group \"\" in the namespace \"waybill-production\""}`,
			`apiGroups: [""], resources: ["services"], verbs: ["patch"]`},
		"quota": {403, `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"Forbidden","code":403,"message":"pods \"x\" is forbidden: exceeded quota: waybill, requested: pods=1, used: pods=500, limited: pods=500"}`,
			"quota is used up"},
		"webhook": {400, `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"BadRequest","code":400,"message":"admission webhook \"policy.example\" denied the request: no"}`,
			"webhook policy.example rejects it"},
		"policy": {422, `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"Invalid","code":422,"message":"pods \"x\" is forbidden: ValidatingAdmissionPolicy 'waybill-digests' with binding 'waybill-digests' denied request: only images"}`,
			"admission policy waybill-digests rejects it"},
		"owner": {409, `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"Conflict","code":409,"message":"Apply failed with 1 conflict","details":{"causes":[{"reason":"FieldManagerConflict","message":"conflict with \"kubectl-edit\" using v1","field":".spec.type"}]}}`,
			`.spec.type (conflict with "kubectl-edit" using v1)`},
		"kind": {404, `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"NotFound","code":404,"message":"the server could not find the requested resource","details":{}}`,
			"install Traefik's CRDs"},
		"login": {401, `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"Unauthorized","code":401,"message":"Unauthorized"}`,
			"does not know who asks"},
	} {
		_, err := answering(t, c.status, c.body).apply(t.Context(), o)
		require.ErrorContains(t, err, c.says, name)
		require.NotErrorIs(t, err, runtime.ErrUnavailable, name)
	}
}

func TestAwayIsUnavailable(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, l.Close())
	r, err := New(Options{Config: &rest.Config{Host: "http://" + l.Addr().String()}, Prefix: "waybill", Volume: "v", DataDir: t.TempDir(), UID: 1, GID: 1})
	require.NoError(t, err)
	_, err = r.Pools(t.Context(), "production")
	require.ErrorIs(t, err, runtime.ErrUnavailable)
	_, err = answering(t, 503, `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"ServiceUnavailable","code":503,"message":"apiserver is shutting down"}`).Pools(t.Context(), "production")
	require.ErrorIs(t, err, runtime.ErrUnavailable)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = r.Pools(ctx, "production")
	require.ErrorIs(t, err, context.Canceled)
	require.NotErrorIs(t, err, runtime.ErrUnavailable)
}

func TestPodsThatCannotRunSayWhy(t *testing.T) {
	r := answering(t, 404, `{}`)
	waits := func(reason, message string) corev1.Pod {
		return corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Name: "p", Namespace: "n"},
			Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: containerApp, Image: "registry/none" + digest}}},
			Status: corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{{Name: containerApp,
				State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason, Message: message}}}}},
		}
	}
	for name, c := range map[string]struct {
		pod  corev1.Pod
		says []string
		away bool
	}{
		"no image": {waits("ErrImagePull", `failed to pull and unpack image: failed to resolve reference: not found`), []string{"no such image", "registry/none" + digest}, false},
		"login":    {waits("ImagePullBackOff", `Back-off: 401 Unauthorized`), []string{"refuses"}, false},
		"registry": {waits("ErrImagePull", `dial tcp 10.0.0.1:5000: connect: connection refused`), []string{"does not answer"}, true},
		"command":  {waits("RunContainerError", `exec: "odoo": executable file not found in $PATH`), []string{"is it an Odoo image"}, false},
		"room": {corev1.Pod{Status: corev1.PodStatus{Conditions: []corev1.PodCondition{{Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Reason: corev1.PodReasonUnschedulable, Message: "0/1 nodes are available: 1 Insufficient memory."}}}},
			[]string{"no node has room", "Insufficient memory"}, false},
		"crash": {corev1.Pod{Status: corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{{Name: containerApp, RestartCount: 1,
			LastTerminationState: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: 3}}}}}}, []string{"exit code 3"}, false},
	} {
		err := r.troubled(t.Context(), c.pod, nil, time.Now().Add(-time.Second))
		for _, s := range c.says {
			require.ErrorContains(t, err, s, name)
		}
		require.Equal(t, c.away, strings.Contains(err.Error(), runtime.ErrUnavailable.Error()), name)
	}
	require.NoError(t, r.troubled(t.Context(), waits("ContainerCreating", ""), nil, time.Now()))
	past := corev1.Pod{Status: corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{{Name: containerApp, RestartCount: 1, State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}},
		LastTerminationState: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: 3}}}}}}
	past.UID = "u"
	require.NoError(t, r.troubled(t.Context(), past, map[string]int32{"u" + containerApp: 1}, time.Now()), "a restart of the past")
}
