package kube

import (
	"net/netip"
	"path/filepath"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/waybill-dev/waybill/internal/bridge"
	"github.com/waybill-dev/waybill/internal/odoo"
	"github.com/waybill-dev/waybill/internal/runtime"
	"github.com/waybill-dev/waybill/internal/runtime/kube/witness"
)

// grace is how long a process gets to finish by itself: above Odoo's limit_time_real of 120 s, which a
// worker's request may use up.
const grace = 160

// leaves is how many seconds a pod that ends goes on taking requests.
const leaves = 3

// render makes manifests. It is pure: the same input gives the same objects, here and in the estate repository.
type render struct {
	prefix, environment, group, namespace string
	uid, gid                              int64
	self                                  string // image of the waybill binary
	pullSecret                            bool
	reach                                 netip.AddrPort // of a rehearsal: what its pods reach
	decoy                                 string         // and what not
	filesPort                             uint16         // of the same address, beside it: where they get their files
	files                                 *Filestores    // nil: they are on the shared volume
}

func (m render) meta(name string, extra map[string]string) metav1.ObjectMeta {
	all := map[string]string{labelInstance: m.prefix, labelEnvironment: m.environment, labelGroup: m.group}
	for k, v := range extra {
		all[k] = v
	}
	return metav1.ObjectMeta{Name: name, Namespace: m.namespace, Labels: all}
}

func ptr[T any](v T) *T { return &v }

// podSpec is what all pods have in common: no rights in the cluster, no root, nothing to write to but
// what is mounted.
func (m render) podSpec() corev1.PodSpec {
	spec := corev1.PodSpec{
		ServiceAccountName: accountName, AutomountServiceAccountToken: ptr(false), EnableServiceLinks: ptr(false),
		// The first process of the pod reaps what others leave behind; Odoo leaves some.
		ShareProcessNamespace:         ptr(true),
		TerminationGracePeriodSeconds: ptr(int64(grace)),
		SecurityContext: &corev1.PodSecurityContext{
			RunAsNonRoot: ptr(true), RunAsUser: ptr(m.uid), RunAsGroup: ptr(m.gid), FSGroup: ptr(m.gid),
			FSGroupChangePolicy: ptr(corev1.FSGroupChangeOnRootMismatch),
			SeccompProfile:      &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
		},
		Volumes: []corev1.Volume{{Name: "tmp", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{SizeLimit: ptr(resource.MustParse("1Gi"))}}}},
	}
	if m.pullSecret {
		spec.ImagePullSecrets = []corev1.LocalObjectReference{{Name: pullName}}
	}
	return spec
}

func confined() *corev1.SecurityContext {
	return &corev1.SecurityContext{
		AllowPrivilegeEscalation: ptr(false), ReadOnlyRootFilesystem: ptr(true),
		Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
	}
}

var tmpMount = corev1.VolumeMount{Name: "tmp", MountPath: "/tmp"}

// odooSpec is a pod that runs Odoo: its files, its group's data, and room for its results where it is a job.
func (m render) odooSpec(role, image string, command []string, files string, limits corev1.ResourceRequirements) corev1.PodSpec {
	spec := m.podSpec()
	spec.Volumes = append(spec.Volumes,
		corev1.Volume{Name: "files", VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: files, DefaultMode: ptr(int32(0o440))}}},
		corev1.Volume{Name: "data", VolumeSource: m.data()})
	spec.Containers = []corev1.Container{{
		Name: containerApp, Image: image, Command: command, Env: odooEnv(role), Resources: limits, SecurityContext: confined(),
		VolumeMounts: []corev1.VolumeMount{tmpMount, filesMount,
			{Name: "data", MountPath: bridge.DataDir, SubPath: m.dataPath()}},
	}}
	return spec
}

// data is where Odoo keeps files: what all pods share, or the copies of one pod.
func (m render) data() corev1.VolumeSource {
	if m.files != nil {
		return corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}
	}
	return corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: claimName}}
}

func (m render) dataPath() string {
	if m.files != nil {
		return ""
	}
	return dataPath(m.environment, m.group)
}

var filesMount = corev1.VolumeMount{Name: "files", MountPath: bridge.ConfigDir, ReadOnly: true}

func odooEnv(role string) []corev1.EnvVar {
	return []corev1.EnvVar{
		{Name: "WAYBILL_ROLE", Value: role}, {Name: "HOME", Value: bridge.DataDir},
		{Name: "PYTHONUNBUFFERED", Value: "1"}, {Name: "PYTHONDONTWRITEBYTECODE", Value: "1"},
		{Name: "ODOO_HTTP_SOCKET_TIMEOUT", Value: "60"}, // its 2 s would cut slow uploads and downloads short: the router does not buffer
	}
}

// limits ask for a quarter of what a process may use: pools of two releases run side by side while one
// replaces the other.
func limits(memory int64, cpus float64) corev1.ResourceRequirements {
	r := corev1.ResourceRequirements{Requests: corev1.ResourceList{}, Limits: corev1.ResourceList{}}
	r.Requests[corev1.ResourceCPU], r.Requests[corev1.ResourceMemory] = resource.MustParse("50m"), resource.MustParse("128Mi")
	if memory > 0 {
		r.Limits[corev1.ResourceMemory] = *resource.NewQuantity(memory, resource.BinarySI)
		r.Requests[corev1.ResourceMemory] = *resource.NewQuantity(memory/4, resource.BinarySI)
	}
	if cpus > 0 {
		r.Limits[corev1.ResourceCPU] = *resource.NewMilliQuantity(int64(cpus*1000), resource.DecimalSI)
		r.Requests[corev1.ResourceCPU] = *resource.NewMilliQuantity(max(int64(cpus*250), 1), resource.DecimalSI)
	}
	return r
}

func little(memory string) corev1.ResourceRequirements {
	return corev1.ResourceRequirements{
		Requests: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("5m"), corev1.ResourceMemory: resource.MustParse("24Mi")},
		Limits:   corev1.ResourceList{corev1.ResourceMemory: resource.MustParse(memory)},
	}
}

// witness runs beside the process for as long as it does.
func (m render) witness() corev1.Container {
	return corev1.Container{
		Name: containerSee, Image: m.self, RestartPolicy: ptr(corev1.ContainerRestartPolicyAlways),
		Command:   []string{"/waybill", "witness", "--listen", ":" + strconv.Itoa(witness.Port), "--folder", bridge.ConfigDir},
		Resources: little("96Mi"), SecurityContext: confined(), VolumeMounts: []corev1.VolumeMount{filesMount},
	}
}

// process is one deployment of a pool.
type process struct {
	role    string
	port    int // 0: it listens nowhere
	command []string
}

// processes of a pool. Without worker processes the threaded web process serves WebSockets itself.
func processes(workers int) []process {
	conf := filepath.Join(bridge.ConfigDir, bridge.OdooConfFile)
	all := []process{{roleWeb, odoo.HTTPPort, []string{"odoo", "-c", conf, "--workers=" + strconv.Itoa(workers), "--max-cron-threads=0"}}}
	if workers > 0 {
		all = append(all, process{roleWebsocket, odoo.GeventPort, []string{"odoo", "gevent", "-c", conf, "--max-cron-threads=0"}})
	}
	return append(all, process{roleCron, 0, []string{"odoo", "-c", conf, "--no-http", "--workers=0", "--max-cron-threads=1"}})
}

func (m render) poolSpec(pool runtime.Pool, p process) corev1.PodSpec {
	spec := m.odooSpec(p.role, pool.Image, p.command, poolFiles(pool.Name), limits(pool.Memory, pool.CPUs))
	spec.InitContainers = []corev1.Container{m.witness()}
	app := &spec.Containers[0]
	if p.port != 0 {
		port := intstr.FromInt32(int32(p.port))
		app.Ports = []corev1.ContainerPort{{ContainerPort: int32(p.port), Protocol: corev1.ProtocolTCP}}
		// Odoo opens no tenant's database for this page. Whether it serves a tenant well is for the bridge
		// to say, to Waybill, for each tenant: one that is ill must not take the others' pool away.
		app.StartupProbe = &corev1.Probe{ProbeHandler: corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: "/web/health", Port: port}},
			PeriodSeconds: 1, TimeoutSeconds: 5, FailureThreshold: 600}
		// A pool whose workers are all busy answers late and not never: only a port that nobody listens on is dead.
		listens := corev1.ProbeHandler{TCPSocket: &corev1.TCPSocketAction{Port: port}}
		app.ReadinessProbe = &corev1.Probe{ProbeHandler: listens, PeriodSeconds: 5, TimeoutSeconds: 5, FailureThreshold: 3}
		app.LivenessProbe = &corev1.Probe{ProbeHandler: listens, PeriodSeconds: 10, TimeoutSeconds: 5, FailureThreshold: 12}
		// Nodes hear that a pod ends while it does. Until they have, it goes on taking requests.
		app.Lifecycle = &corev1.Lifecycle{PreStop: &corev1.LifecycleHandler{Sleep: &corev1.SleepAction{Seconds: leaves}}}
	}
	// The pods of the web process spread over nodes where there are several, and the others keep away from any of the pool. One selector is
	// all that a cluster takes for nodes.
	of := map[string]string{labelPool: pool.Name}
	if p.role == roleWeb {
		of[labelRole] = p.role
	}
	spec.TopologySpreadConstraints = []corev1.TopologySpreadConstraint{{
		MaxSkew: 1, TopologyKey: corev1.LabelHostname, WhenUnsatisfiable: corev1.ScheduleAnyway,
		LabelSelector: &metav1.LabelSelector{MatchLabels: of},
	}}
	return spec
}
