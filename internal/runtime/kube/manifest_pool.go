package kube

import (
	"strconv"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/waybill-dev/waybill/internal/bridge"
	"github.com/waybill-dev/waybill/internal/runtime"
)

// pool renders a pool: for each process a deployment and, where it listens, a service; and a budget for
// what takes pods away on purpose. Its secret is apart: its content is nobody else's to see.
func (m render) pool(pool runtime.Pool) []*unstructured.Unstructured {
	var all []*unstructured.Unstructured
	for _, p := range processes(pool.Workers) {
		own := map[string]string{labelPool: pool.Name, labelRole: p.role}
		name := poolObject(pool.Name, p.role)
		if p.port != 0 {
			all = append(all, m.service(name, own, p.port, 0))
		}
		d := &appsv1.Deployment{
			TypeMeta: metav1.TypeMeta{APIVersion: "apps/v1", Kind: kindDeployment}, ObjectMeta: m.meta(name, own),
			Spec: appsv1.DeploymentSpec{
				Replicas: replicas(pool, p.role), RevisionHistoryLimit: ptr(int32(1)),
				Selector: &metav1.LabelSelector{MatchLabels: own},
				Strategy: appsv1.DeploymentStrategy{Type: appsv1.RollingUpdateDeploymentStrategyType,
					RollingUpdate: &appsv1.RollingUpdateDeployment{MaxUnavailable: ptr(intstr.FromInt32(0)), MaxSurge: ptr(intstr.FromInt32(1))}},
				Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: m.meta("", own).Labels}, Spec: m.poolSpec(pool, p)},
			},
		}
		d.Annotations = map[string]string{noteImage: pool.Image, noteWorkers: strconv.Itoa(pool.Workers)}
		all = append(all, object(d))
	}
	if autoscaled(pool.Web, pool.CPUs) {
		all = append(all, m.autoscaler(pool.Name, pool.Web, pool.CPUs))
	}
	// One pod at a time, of whatever process: right for any number of them. A process of one pod does not keep a node from being emptied.
	pdb := &policyv1.PodDisruptionBudget{
		TypeMeta: metav1.TypeMeta{APIVersion: "policy/v1", Kind: kindDisruption}, ObjectMeta: m.meta(poolFiles(pool.Name), map[string]string{labelPool: pool.Name}),
		Spec: policyv1.PodDisruptionBudgetSpec{MaxUnavailable: ptr(intstr.FromInt32(1)),
			Selector: &metav1.LabelSelector{MatchLabels: map[string]string{labelPool: pool.Name}}},
	}
	return append(all, object(pdb))
}

// service gives the pods with those labels one address; with a node port also on every node.
func (m render) service(name string, own map[string]string, port, nodePort int) *unstructured.Unstructured {
	s := &corev1.Service{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: kindService}, ObjectMeta: m.meta(name, own),
		Spec: corev1.ServiceSpec{Type: corev1.ServiceTypeClusterIP, Selector: own,
			Ports: []corev1.ServicePort{{Name: "http", Port: int32(port), TargetPort: intstr.FromInt32(int32(port)), Protocol: corev1.ProtocolTCP}}},
	}
	if nodePort != 0 {
		s.Spec.Type, s.Spec.Ports[0].NodePort = corev1.ServiceTypeNodePort, int32(nodePort)
	}
	return object(s)
}

// secret holds the files of a pool or a job.
func (m render) secret(name string, own map[string]string, files runtime.Files) *unstructured.Unstructured {
	s := &corev1.Secret{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: kindSecret}, ObjectMeta: m.meta(name, own), Type: corev1.SecretTypeOpaque, Data: map[string][]byte{}}
	for k, v := range files {
		if v == nil {
			v = []byte{}
		}
		s.Data[k] = v
	}
	return object(s)
}

// job renders a job that runs once, whatever becomes of it.
func (m render) job(job runtime.Job) *unstructured.Unstructured {
	own := map[string]string{labelJob: job.Name, labelRole: roleUpdate}
	spec := m.odooSpec(roleUpdate, job.Image, job.Command, jobObject(job.Name), limits(job.Memory, 0))
	spec.RestartPolicy = corev1.RestartPolicyNever
	if m.isCopies() {
		spec.InitContainers = []corev1.Container{m.gate()}
	}
	app := &spec.Containers[0]
	out := corev1.VolumeMount{Name: "data", MountPath: bridge.OutDir, SubPath: outPath(job.Environment, job.Name)}
	if m.files != nil {
		out = corev1.VolumeMount{Name: containerOut, MountPath: bridge.OutDir}
		spec.Volumes = append(spec.Volumes, corev1.Volume{Name: containerOut, VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{SizeLimit: ptr(resource.MustParse("128Mi"))}}})
		spec.InitContainers = append(spec.InitContainers, m.results(out))
	}
	app.VolumeMounts = append(app.VolumeMounts, out)
	j := &batchv1.Job{
		TypeMeta: metav1.TypeMeta{APIVersion: "batch/v1", Kind: kindJob}, ObjectMeta: m.meta(jobObject(job.Name), own),
		Spec: batchv1.JobSpec{
			BackoffLimit: ptr(int32(0)), Parallelism: ptr(int32(1)), Completions: ptr(int32(1)),
			// A second pod of an update is never wanted, least of all while the first one still ends.
			PodReplacementPolicy: ptr(batchv1.Failed),
			Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: m.meta("", own).Labels,
				Annotations: map[string]string{"cluster-autoscaler.kubernetes.io/safe-to-evict": "false"}}, Spec: spec},
		},
	}
	j.Annotations = map[string]string{noteImage: job.Image}
	return object(j)
}
