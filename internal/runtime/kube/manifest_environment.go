package kube

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/waybill-dev/waybill/internal/bridge"
	"github.com/waybill-dev/waybill/internal/odoo"
	"github.com/waybill-dev/waybill/internal/router"
	"github.com/waybill-dev/waybill/internal/runtime/kube/witness"
)

// Ports of the router, inside its pod.
const (
	routerPort    = 8080
	routerTLSPort = 8443
	adminPort     = 8081
)

// namespaceObject is the namespace itself, in which the cluster admits only pods that ask for no privilege.
func (m render) namespaceObject() *unstructured.Unstructured {
	meta := m.meta(m.namespace, nil)
	meta.Namespace = ""
	meta.Labels["pod-security.kubernetes.io/enforce"] = "restricted"
	meta.Labels["pod-security.kubernetes.io/warn"] = "restricted"
	if m.isCopies() { // by which others may let its pods in: the policies of Waybill's own namespace
		meta.Labels[labelRole] = roleRehearsal
	}
	return object(&corev1.Namespace{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: kindNamespace}, ObjectMeta: meta})
}

// fences are what keeps a namespace apart from others: an account without rights, bounds, and no
// network but what is needed.
func (m render) fences(opt Options, podNetworks []netip.Prefix) []*unstructured.Unstructured {
	all := []*unstructured.Unstructured{
		object(&corev1.ServiceAccount{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: kindAccount}, ObjectMeta: m.meta(accountName, nil), AutomountServiceAccountToken: ptr(false)}),
		m.quota(opt.Quota),
		object(&corev1.LimitRange{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: kindLimits}, ObjectMeta: m.meta(quotaName, nil),
			Spec: corev1.LimitRangeSpec{Limits: []corev1.LimitRangeItem{{Type: corev1.LimitTypeContainer,
				DefaultRequest: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("50m"), corev1.ResourceMemory: resource.MustParse("64Mi")}}}}}),
	}
	return append(all, m.network(opt, podNetworks)...)
}

// quota bounds the namespace. Pods are always counted; a service of a kind that reaches outside is for
// the router at most.
func (m render) quota(given map[string]string) *unstructured.Unstructured {
	hard := corev1.ResourceList{
		corev1.ResourcePods:                  resource.MustParse("500"),
		corev1.ResourceServicesLoadBalancers: resource.MustParse("0"),
	}
	for name, quantity := range given {
		if q, err := resource.ParseQuantity(quantity); err == nil { // checked by New
			hard[corev1.ResourceName(name)] = q
		}
	}
	return object(&corev1.ResourceQuota{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: kindQuota}, ObjectMeta: m.meta(quotaName, nil), Spec: corev1.ResourceQuotaSpec{Hard: hard}})
}

func port(p int) networkingv1.NetworkPolicyPort {
	return networkingv1.NetworkPolicyPort{Protocol: ptr(corev1.ProtocolTCP), Port: ptr(intstr.FromInt32(int32(p)))}
}

func fromNamespace(name string) networkingv1.NetworkPolicyPeer {
	return networkingv1.NetworkPolicyPeer{NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{corev1.LabelMetadataName: name}}}
}

// network denies everything, and then allows: the router and Waybill in, and out whatever is not
// another pod of the cluster, names of hosts, and the namespaces that the operator named.
func (m render) network(opt Options, podNetworks []netip.Prefix) []*unstructured.Unstructured {
	policy := func(name string, spec networkingv1.NetworkPolicySpec) *unstructured.Unstructured {
		return object(&networkingv1.NetworkPolicy{TypeMeta: metav1.TypeMeta{APIVersion: "networking.k8s.io/v1", Kind: kindPolicy}, ObjectMeta: m.meta(policyName+"-"+name, nil), Spec: spec})
	}
	ingress, egress := networkingv1.PolicyTypeIngress, networkingv1.PolicyTypeEgress
	if m.isCopies() {
		return []*unstructured.Unstructured{policy("deny", networkingv1.NetworkPolicySpec{PolicyTypes: []networkingv1.PolicyType{ingress, egress}, Egress: m.toServer(opt)})}
	}
	pools := metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: labelRole, Operator: metav1.LabelSelectorOpNotIn, Values: []string{roleRouter, roleFiles}}}}
	routers := networkingv1.NetworkPolicyPeer{
		NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{labelInstance: m.prefix, labelEnvironment: m.environment}},
		PodSelector:       &metav1.LabelSelector{MatchLabels: map[string]string{labelRole: roleRouter}},
	}
	in := []networkingv1.NetworkPolicyIngressRule{{From: []networkingv1.NetworkPolicyPeer{routers}, Ports: []networkingv1.NetworkPolicyPort{port(odoo.HTTPPort), port(odoo.GeventPort)}}}
	if opt.Namespace != "" {
		in = append(in, networkingv1.NetworkPolicyIngressRule{From: []networkingv1.NetworkPolicyPeer{fromNamespace(opt.Namespace)},
			Ports: []networkingv1.NetworkPolicyPort{port(odoo.HTTPPort), port(odoo.GeventPort), port(witness.Port)}})
	}
	udp := port(53)
	udp.Protocol = ptr(corev1.ProtocolUDP)
	out := []networkingv1.NetworkPolicyEgressRule{
		{To: []networkingv1.NetworkPolicyPeer{fromNamespace("kube-system")}, Ports: []networkingv1.NetworkPolicyPort{port(53), udp}},
		{To: []networkingv1.NetworkPolicyPeer{outside(podNetworks)}},
	}
	for _, name := range opt.Reach {
		out = append(out, networkingv1.NetworkPolicyEgressRule{To: []networkingv1.NetworkPolicyPeer{fromNamespace(name)}})
	}
	world := out // for the gateway, whose bucket may be anywhere
	if m.files != nil {
		out = append(slices.Clone(out), networkingv1.NetworkPolicyEgressRule{Ports: []networkingv1.NetworkPolicyPort{port(gatewayPort)}, To: []networkingv1.NetworkPolicyPeer{{
			NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{labelInstance: m.prefix, labelEnvironment: m.environment, labelGroup: sharedGroup}},
			PodSelector:       &metav1.LabelSelector{MatchLabels: map[string]string{labelRole: roleFiles}},
		}}})
	}
	all := []*unstructured.Unstructured{
		policy("deny", networkingv1.NetworkPolicySpec{PolicyTypes: []networkingv1.PolicyType{ingress, egress}}),
		policy("pools", networkingv1.NetworkPolicySpec{PodSelector: pools, PolicyTypes: []networkingv1.PolicyType{ingress, egress}, Ingress: in, Egress: out}),
	}
	if m.group != sharedGroup {
		return all
	}
	// The router takes requests from wherever they come, Traefik or a node's port, orders from Waybill only
	// (and only from whoever holds its pair), and asks the pools of the environment.
	toRouter := []networkingv1.NetworkPolicyIngressRule{{Ports: []networkingv1.NetworkPolicyPort{port(routerPort), port(routerTLSPort)}}}
	if opt.Namespace != "" {
		toRouter = append(toRouter, networkingv1.NetworkPolicyIngressRule{From: []networkingv1.NetworkPolicyPeer{fromNamespace(opt.Namespace)}, Ports: []networkingv1.NetworkPolicyPort{port(adminPort)}})
	}
	environment := networkingv1.NetworkPolicyPeer{NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{labelInstance: m.prefix, labelEnvironment: m.environment}}}
	if m.files != nil {
		// The nodes' probes come from no pod, and no policy keeps them out.
		all = append(all, policy("files", networkingv1.NetworkPolicySpec{
			PodSelector: metav1.LabelSelector{MatchLabels: map[string]string{labelRole: roleFiles}}, PolicyTypes: []networkingv1.PolicyType{ingress, egress},
			Ingress: []networkingv1.NetworkPolicyIngressRule{{From: []networkingv1.NetworkPolicyPeer{environment}, Ports: []networkingv1.NetworkPolicyPort{port(gatewayPort)}}},
			Egress:  world,
		}))
	}
	return append(all, policy("router", networkingv1.NetworkPolicySpec{
		PodSelector: metav1.LabelSelector{MatchLabels: map[string]string{labelRole: roleRouter}}, PolicyTypes: []networkingv1.PolicyType{ingress, egress},
		Ingress: toRouter,
		Egress:  []networkingv1.NetworkPolicyEgressRule{{To: []networkingv1.NetworkPolicyPeer{environment}, Ports: []networkingv1.NetworkPolicyPort{port(odoo.HTTPPort), port(odoo.GeventPort)}}},
	}))
}

// outside is every address that is no pod's, and not where clouds hand out a machine's credentials.
func outside(podNetworks []netip.Prefix) networkingv1.NetworkPolicyPeer {
	except := []string{"169.254.0.0/16"}
	for _, n := range podNetworks {
		if n.Addr().Is4() {
			except = append(except, n.String())
		}
	}
	slices.Sort(except)
	return networkingv1.NetworkPolicyPeer{IPBlock: &networkingv1.IPBlock{CIDR: "0.0.0.0/0", Except: slices.Compact(except)}}
}

// volume is the namespace's own entry for the volume that all share, and its claim.
func (m render) volume(of corev1.PersistentVolumeSpec) []*unstructured.Unstructured {
	name := m.namespace + "-" + claimName
	meta := m.meta(name, nil)
	meta.Namespace = ""
	spec := corev1.PersistentVolumeSpec{
		PersistentVolumeSource: of.PersistentVolumeSource, Capacity: of.Capacity, MountOptions: of.MountOptions, NodeAffinity: of.NodeAffinity,
		AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteMany}, PersistentVolumeReclaimPolicy: corev1.PersistentVolumeReclaimRetain,
		ClaimRef: &corev1.ObjectReference{APIVersion: "v1", Kind: kindClaim, Namespace: m.namespace, Name: claimName},
	}
	claim := &corev1.PersistentVolumeClaim{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: kindClaim}, ObjectMeta: m.meta(claimName, nil),
		Spec: corev1.PersistentVolumeClaimSpec{AccessModes: spec.AccessModes, VolumeName: name, StorageClassName: ptr(""),
			Resources: corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: of.Capacity[corev1.ResourceStorage]}}},
	}
	return []*unstructured.Unstructured{
		object(&corev1.PersistentVolume{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: kindVolume}, ObjectMeta: meta, Spec: spec}),
		object(claim),
	}
}

// admission admits, in Waybill's namespaces, only pods whose images are written down by digest in an
// annotation of the namespace, and no change of an image afterwards. Waybill writes a digest there after the
// procedure has verified it. A ConfigMap as the policy's parameter would do the same, and is not used: an API
// server (seen with 1.34) stops watching ConfigMaps for policies for good once the last such policy goes, and
// then finds none.
func admission(prefix string) []*unstructured.Unstructured {
	list := "namespaceObject.metadata.annotations"
	listed := func(containers string) string {
		return fmt.Sprintf("%s.all(c, c.image.contains('@sha256:') && c.image.split('@sha256:')[1] in %s['%s'].split(' '))", containers, list, noteDigests)
	}
	created := admissionPolicy(prefix, prefix+"-digests", "CREATE", []any{"pods"},
		fmt.Sprintf("has(%[1]s) && '%[2]s' in %[1]s && ", list, noteDigests)+listed("object.spec.containers")+" && (!has(object.spec.initContainers) || "+listed("object.spec.initContainers")+")",
		"only images that Waybill has verified run here, by digest, as listed in the namespace's annotation "+noteDigests)
	same := func(containers string) string {
		return fmt.Sprintf("%[1]s.all(c, old%[2]s.exists(o, o.name == c.name && o.image == c.image))", "object.spec."+containers, "Object.spec."+containers)
	}
	changed := admissionPolicy(prefix, prefix+"-images", "UPDATE", []any{"pods", "pods/ephemeralcontainers"},
		same("containers")+" && (!has(object.spec.initContainers) || "+same("initContainers")+") && !has(object.spec.ephemeralContainers)",
		"the images of a pod stay as Waybill has started them")
	return append(created, changed...)
}

func admissionPolicy(prefix, name, operation string, of []any, expression, message string) []*unstructured.Unstructured {
	obj := func(kind string, spec map[string]any) *unstructured.Unstructured {
		return &unstructured.Unstructured{Object: map[string]any{"apiVersion": "admissionregistration.k8s.io/v1", "kind": kind,
			"metadata": map[string]any{"name": name, "labels": map[string]any{labelInstance: prefix}}, "spec": spec}}
	}
	return []*unstructured.Unstructured{
		obj(kindAdmission, map[string]any{
			"failurePolicy": "Fail",
			"matchConstraints": map[string]any{"resourceRules": []any{map[string]any{
				"apiGroups": []any{""}, "apiVersions": []any{"v1"}, "operations": []any{operation}, "resources": of}}},
			"validations": []any{map[string]any{"expression": expression, "message": message}},
		}),
		obj(kindBinding, map[string]any{
			"policyName": name, "validationActions": []any{"Deny"},
			"matchResources": map[string]any{"namespaceSelector": map[string]any{"matchLabels": map[string]any{labelInstance: prefix}}},
		}),
	}
}

// router renders the environment's router, its address, and the pair through which it takes orders.
func (m render) router(opt Options, httpPort, httpsPort int) []*unstructured.Unstructured {
	own := map[string]string{labelRole: roleRouter}
	const run, pair, table, tls = "/run/waybill/router", "/etc/waybill/pair", "/etc/waybill/table", "/etc/waybill/tls"
	spec := m.podSpec()
	spec.TerminationGracePeriodSeconds = ptr(int64(router.StopGrace.Seconds()) + 10)
	spec.Volumes = append(spec.Volumes,
		corev1.Volume{Name: "run", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}},
		corev1.Volume{Name: "pair", VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: routerName, DefaultMode: ptr(int32(0o440))}}},
		corev1.Volume{Name: "table", VolumeSource: corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{LocalObjectReference: corev1.LocalObjectReference{Name: tableName}, Optional: ptr(true)}}})
	command := []string{"/waybill", "router", "--http", ":" + strconv.Itoa(routerPort), "--admin", run + "/admin.sock", "--state", run,
		"--admin-tls", ":" + strconv.Itoa(adminPort), "--admin-pair", pair, "--table", table + "/table.json"}
	if len(opt.Traefik.Proxies) > 0 {
		command = append(command, "--proxies", strings.Join(opt.Traefik.Proxies, ","))
	}
	listens := corev1.ProbeHandler{TCPSocket: &corev1.TCPSocketAction{Port: intstr.FromInt32(routerPort)}}
	app := corev1.Container{
		Name: containerApp, Image: m.self, Env: []corev1.EnvVar{{Name: "HOME", Value: run}}, SecurityContext: confined(),
		Resources:    corev1.ResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("50m"), corev1.ResourceMemory: resource.MustParse("64Mi")}},
		VolumeMounts: []corev1.VolumeMount{tmpMount, {Name: "run", MountPath: run}, {Name: "pair", MountPath: pair, ReadOnly: true}, {Name: "table", MountPath: table, ReadOnly: true}},
		// A router that holds requests is not ill.
		ReadinessProbe: &corev1.Probe{ProbeHandler: listens, PeriodSeconds: 2, TimeoutSeconds: 5},
		LivenessProbe:  &corev1.Probe{ProbeHandler: listens, PeriodSeconds: 10, TimeoutSeconds: 5, FailureThreshold: 6},
	}
	service := m.service(routerName, own, routerPort, httpPort)
	var all []*unstructured.Unstructured
	if httpsPort != 0 {
		spec.Volumes = append(spec.Volumes, corev1.Volume{Name: "tls", VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: tlsName, DefaultMode: ptr(int32(0o440))}}})
		app.VolumeMounts = append(app.VolumeMounts, corev1.VolumeMount{Name: "tls", MountPath: tls, ReadOnly: true})
		command = append(command, "--https", ":"+strconv.Itoa(routerTLSPort), "--certificate", tls+"/tls.crt", "--key", tls+"/tls.key")
		ports, _, _ := unstructured.NestedSlice(service.Object, "spec", "ports")
		ports = append(ports, map[string]any{"name": "https", "port": int64(routerTLSPort), "targetPort": int64(routerTLSPort), "protocol": "TCP", "nodePort": int64(httpsPort)})
		_ = unstructured.SetNestedSlice(service.Object, ports, "spec", "ports")
	}
	app.Command = command
	spec.Containers = []corev1.Container{app}
	d := &appsv1.Deployment{
		TypeMeta: metav1.TypeMeta{APIVersion: "apps/v1", Kind: kindDeployment}, ObjectMeta: m.meta(routerName, own),
		Spec: appsv1.DeploymentSpec{
			Replicas: ptr(int32(1)), RevisionHistoryLimit: ptr(int32(1)), Selector: &metav1.LabelSelector{MatchLabels: own},
			Strategy: appsv1.DeploymentStrategy{Type: appsv1.RollingUpdateDeploymentStrategyType,
				RollingUpdate: &appsv1.RollingUpdateDeployment{MaxUnavailable: ptr(intstr.FromInt32(0)), MaxSurge: ptr(intstr.FromInt32(1))}},
			Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: m.meta("", own).Labels}, Spec: spec},
		},
	}
	return append(all, service, object(d))
}

// table keeps the routes in force where a router that is made anew finds them.
func (m render) table(t router.Table) (*unstructured.Unstructured, error) {
	content, err := json.Marshal(t)
	if err != nil {
		return nil, err
	}
	return object(&corev1.ConfigMap{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: kindConfigMap}, ObjectMeta: m.meta(tableName, nil), Data: map[string]string{"table.json": string(content)}}), nil
}

// routes lead Traefik's requests for the tenants' hosts to the router, without the headers that only
// it may set. Which pool gets a request, the router decides: it holds, freezes and counts.
func (m render) routes(t Traefik, hosts []string) []*unstructured.Unstructured {
	strip := map[string]any{bridge.SignatureHeader: ""} // the router strips every X-Waybill-* again
	base := func(kind, version, name string, spec map[string]any) *unstructured.Unstructured {
		o := &unstructured.Unstructured{Object: map[string]any{"apiVersion": version, "kind": kind, "spec": spec}}
		meta := m.meta(name, nil)
		o.SetName(name)
		o.SetNamespace(m.namespace)
		o.SetLabels(meta.Labels)
		return o
	}
	var match []string
	hosts = slices.Sorted(slices.Values(hosts))
	for _, h := range slices.Compact(hosts) {
		match = append(match, "Host(`"+h+"`)")
	}
	spec := map[string]any{"routes": []any{map[string]any{
		"kind": "Rule", "match": strings.Join(match, " || "),
		"middlewares": []any{map[string]any{"name": "strip"}},
		"services":    []any{map[string]any{"name": routerName, "port": int64(routerPort), "passHostHeader": true}},
	}}}
	if len(t.EntryPoints) > 0 {
		points := make([]any, len(t.EntryPoints))
		for i, p := range t.EntryPoints {
			points[i] = p
		}
		spec["entryPoints"] = points
	}
	if t.TLSSecret != "" {
		spec["tls"] = map[string]any{"secretName": t.TLSSecret}
	}
	all := []*unstructured.Unstructured{
		base(kindMiddleware, "traefik.io/v1alpha1", "strip", map[string]any{"headers": map[string]any{"customRequestHeaders": strip}}),
		base(kindIngressRoute, "traefik.io/v1alpha1", routerName, spec),
	}
	if t.Issuer != "" && t.TLSSecret != "" {
		names := make([]any, len(hosts))
		for i, h := range hosts {
			names[i] = h
		}
		all = append(all, base(kindCertificate, "cert-manager.io/v1", routerName, map[string]any{
			"secretName": t.TLSSecret, "dnsNames": names, "issuerRef": map[string]any{"kind": "ClusterIssuer", "name": t.Issuer}}))
	}
	return all
}
