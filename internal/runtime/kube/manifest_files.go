package kube

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/waybill-dev/waybill/internal/runtime"
)

// noteCredentials is on the gateway's pods: they read their credentials once, and are replaced when those change.
const noteCredentials = "waybill.dev/credentials"

// gateway renders what stands between the environment's pools and the bucket, the deployment last. The secret is apart: its content is
// nobody else's to see.
func (m render) gateway(secret runtime.Files) []*unstructured.Unstructured {
	own := map[string]string{labelRole: roleFiles}
	const keys = "/etc/waybill/gateway"
	spec := m.podSpec()
	spec.TerminationGracePeriodSeconds = ptr(int64(60))
	spec.Volumes = append(spec.Volumes, corev1.Volume{Name: "keys", VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{
		SecretName: filesName, DefaultMode: ptr(int32(0o440)), Items: []corev1.KeyToPath{{Key: gatewayKey, Path: gatewayKey}}}}})
	probe := func(path string) corev1.ProbeHandler {
		return corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: path, Port: intstr.FromInt32(gatewayPort)}}
	}
	app := corev1.Container{
		Name: containerApp, Image: m.self, SecurityContext: confined(),
		Command: []string{"/waybill", "files", "--listen", gatewayListen(), "--bucket", m.files.URL, "--key", keys + "/" + gatewayKey},
		Env:     []corev1.EnvVar{{Name: "HOME", Value: "/tmp"}},
		Ports:   []corev1.ContainerPort{{ContainerPort: gatewayPort, Protocol: corev1.ProtocolTCP}},
		Resources: corev1.ResourceRequirements{
			Requests: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("50m"), corev1.ResourceMemory: resource.MustParse("64Mi")},
			Limits:   corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("512Mi")},
		},
		VolumeMounts:   []corev1.VolumeMount{tmpMount, {Name: "keys", MountPath: keys, ReadOnly: true}},
		ReadinessProbe: &corev1.Probe{ProbeHandler: probe("/readyz"), PeriodSeconds: 5, TimeoutSeconds: 5, FailureThreshold: 2},
		LivenessProbe:  &corev1.Probe{ProbeHandler: probe("/livez"), PeriodSeconds: 10, TimeoutSeconds: 5, FailureThreshold: 6},
		Lifecycle:      &corev1.Lifecycle{PreStop: &corev1.LifecycleHandler{Sleep: &corev1.SleepAction{Seconds: leaves}}},
	}
	sum := sha256.New()
	for _, name := range slices.Sorted(maps.Keys(secret)) {
		if name == gatewayKey {
			continue
		}
		app.Env = append(app.Env, corev1.EnvVar{Name: name, ValueFrom: &corev1.EnvVarSource{SecretKeyRef: &corev1.SecretKeySelector{
			LocalObjectReference: corev1.LocalObjectReference{Name: filesName}, Key: name}}})
		fmt.Fprintf(sum, "%s %d %s\n", name, len(secret[name]), secret[name])
	}
	// With the key: a hash of credentials alone would be something to guess against.
	sum.Write(secret[gatewayKey])
	spec.Containers = []corev1.Container{app}
	spec.TopologySpreadConstraints = []corev1.TopologySpreadConstraint{{
		MaxSkew: 1, TopologyKey: corev1.LabelHostname, WhenUnsatisfiable: corev1.ScheduleAnyway, LabelSelector: &metav1.LabelSelector{MatchLabels: own},
	}}
	d := &appsv1.Deployment{
		TypeMeta: metav1.TypeMeta{APIVersion: "apps/v1", Kind: kindDeployment}, ObjectMeta: m.meta(filesName, own),
		Spec: appsv1.DeploymentSpec{
			Replicas: ptr(int32(2)), RevisionHistoryLimit: ptr(int32(1)), Selector: &metav1.LabelSelector{MatchLabels: own},
			Strategy: appsv1.DeploymentStrategy{Type: appsv1.RollingUpdateDeploymentStrategyType,
				RollingUpdate: &appsv1.RollingUpdateDeployment{MaxUnavailable: ptr(intstr.FromInt32(0)), MaxSurge: ptr(intstr.FromInt32(1))}},
			Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: m.meta("", own).Labels,
				Annotations: map[string]string{noteCredentials: hex.EncodeToString(sum.Sum(nil)[:8])}}, Spec: spec},
		},
	}
	budget := &policyv1.PodDisruptionBudget{
		TypeMeta: metav1.TypeMeta{APIVersion: "policy/v1", Kind: kindDisruption}, ObjectMeta: m.meta(filesName, own),
		Spec: policyv1.PodDisruptionBudgetSpec{MaxUnavailable: ptr(intstr.FromInt32(1)), Selector: &metav1.LabelSelector{MatchLabels: own}},
	}
	return []*unstructured.Unstructured{m.service(filesName, own, gatewayPort, 0), object(budget), object(d)}
}

// results runs beside a job for as long as it does, and then says what it has written.
func (m render) results(out corev1.VolumeMount) corev1.Container {
	out.ReadOnly = true
	return corev1.Container{
		Name: containerOut, Image: m.self, RestartPolicy: ptr(corev1.ContainerRestartPolicyAlways),
		Command:   []string{"/waybill", "results", "--folder", out.MountPath},
		Resources: little("160Mi"), SecurityContext: confined(), VolumeMounts: []corev1.VolumeMount{out},
	}
}
