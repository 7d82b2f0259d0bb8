package kube

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/waybill-dev/waybill/internal/drift"
	"github.com/waybill-dev/waybill/internal/router"
	"github.com/waybill-dev/waybill/internal/runtime"
)

// removalGrace is what processes get when their whole environment goes away.
const removalGrace = 10 * time.Second

func (r *Runtime) render(environment, group string) render {
	if group == "" {
		group = sharedGroup
	}
	return render{prefix: r.opt.Prefix, environment: environment, group: group, namespace: r.namespace(environment, group),
		uid: int64(r.opt.UID), gid: int64(r.opt.GID), pullSecret: len(r.opt.PullSecret) > 0, files: r.opt.Filestores,
		reach: r.reach, decoy: r.decoy, self: r.self, filesPort: r.filesPort}
}

// ensureGroup makes the group's namespace with everything in it that pools need and that keeps them apart.
func (r *Runtime) ensureGroup(ctx context.Context, environment, group string) (render, error) {
	m := r.render(environment, group)
	if err := r.ownNamespace(ctx, m); err != nil {
		return m, err
	}
	networks, err := r.podNetworks(ctx)
	if err != nil {
		return m, err
	}
	var volume []*unstructured.Unstructured
	if m.files == nil {
		if volume, err = r.volumeOf(ctx, m); err != nil {
			return m, err
		}
	}
	if _, err := r.apply(ctx, m.namespaceObject()); err != nil {
		return m, err
	}
	all := append(m.fences(r.opt, networks), volume...)
	if m.pullSecret {
		s := m.secret(pullName, nil, runtime.Files{corev1.DockerConfigJsonKey: r.opt.PullSecret})
		s.Object["type"] = string(corev1.SecretTypeDockerConfigJson)
		all = append(all, s)
	}
	return m, r.applyAll(ctx, append(all, admission(r.opt.Prefix)...)...)
}

// volumeOf is the entry of the shared volume for the group's namespace, in which its folder is there.
func (r *Runtime) volumeOf(ctx context.Context, m render) ([]*unstructured.Unstructured, error) {
	volume, err := r.sharedVolume(ctx)
	if err != nil {
		return nil, err
	}
	if err := r.EnsureDataDir(m.environment, m.group); err != nil {
		return nil, err
	}
	return m.volume(volume), r.dropReleased(ctx, m)
}

// dropReleased takes away the entry of a volume whose claim went with an earlier namespace: it would
// never be bound again. The data is not in the entry.
func (r *Runtime) dropReleased(ctx context.Context, m render) error {
	var v corev1.PersistentVolume
	name := m.namespace + "-" + claimName
	found, err := r.get(ctx, kindVolume, "", name, &v)
	if err != nil || !found || v.Labels[labelInstance] != m.prefix || v.Status.Phase != corev1.VolumeReleased && v.DeletionTimestamp == nil {
		return err
	}
	if err := r.remove(ctx, kindVolume, "", name); err != nil {
		return err
	}
	return r.gone(ctx, kindVolume, "", name)
}

// ownNamespace waits out a namespace that goes away, and refuses one that somebody else has made.
func (r *Runtime) ownNamespace(ctx context.Context, m render) error {
	return until(ctx, "namespace "+m.namespace+" of an earlier pool is gone", func() (bool, error) {
		var n corev1.Namespace
		found, err := r.get(ctx, kindNamespace, "", m.namespace, &n)
		switch {
		case err != nil:
			return false, err
		case !found: // nor is anything missing of what was in it
			return true, r.forget(ctx, kindNamespace, "", m.namespace)
		case n.Labels[labelInstance] != m.prefix || n.Labels[labelEnvironment] != m.environment || n.Labels[labelGroup] != m.group:
			return false, fmt.Errorf("namespace %s exists and is not of this environment (labels %s=%q %s=%q): rename the environment, or give another namespace prefix", m.namespace, labelInstance, n.Labels[labelInstance], labelEnvironment, n.Labels[labelEnvironment])
		}
		return n.DeletionTimestamp == nil, nil
	})
}

// admit lists the images' digests as verified, and returns once the cluster would take a pod of the
// spec: quota, admission policies and webhooks say at once what they would say to a controller in vain.
func (r *Runtime) admit(ctx context.Context, m render, spec corev1.PodSpec, images ...string) error {
	for _, image := range images {
		if _, digest, ok := strings.Cut(image, "@sha256:"); !ok || digest == "" || strings.ContainsAny(digest, " /@:") {
			return fmt.Errorf("image %q: expected repository@sha256:digest", image)
		}
	}
	if err := r.listDigests(ctx, m.namespace, images); err != nil {
		return err
	}
	probe := object(&corev1.Pod{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: kindPod}, ObjectMeta: m.meta("admission-probe", nil), Spec: spec})
	delay, began := backoff{first: 50 * time.Millisecond, most: 500 * time.Millisecond}, time.Now()
	for {
		_, err := r.of(kindPod, m.namespace).Create(ctx, probe, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}, FieldManager: manager})
		if err == nil {
			return nil
		}
		// The API server hears of a new list, policy or account a moment later.
		fresh := policy.MatchString(err.Error()) || strings.Contains(err.Error(), "error looking up service account")
		if !fresh || time.Since(began) > 15*time.Second {
			return r.fault(err, "try whether the cluster admits a pod of %s", images[0])
		}
		if err := wait(ctx, delay.next()); err != nil {
			return fmt.Errorf("try whether the cluster admits a pod of %s: %w", images[0], err)
		}
	}
}

// listDigests adds the images' digests to those that may run in the namespace. None is taken away: a pod
// that runs may have to be made anew.
func (r *Runtime) listDigests(ctx context.Context, namespace string, images []string) error {
	for {
		var n corev1.Namespace
		found, err := r.get(ctx, kindNamespace, "", namespace, &n)
		if err != nil {
			return err
		}
		if !found {
			return fmt.Errorf("namespace %s was removed meanwhile: %w", namespace, runtime.ErrUnavailable)
		}
		listed := strings.Fields(n.Annotations[noteDigests])
		before := len(listed)
		for _, image := range images {
			if _, digest, _ := strings.Cut(image, "@sha256:"); !slices.Contains(listed, digest) {
				listed = append(listed, digest)
			}
		}
		if len(listed) == before {
			return nil
		}
		// With the version that was read: what another call has added meanwhile must not be lost.
		patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"resourceVersion": n.ResourceVersion,
			"annotations": map[string]string{noteDigests: strings.Join(listed, " ")}}})
		if err != nil {
			return err
		}
		_, err = r.of(kindNamespace, "").Patch(ctx, namespace, types.MergePatchType, patch, metav1.PatchOptions{FieldManager: manager})
		if apierrors.IsConflict(err) {
			continue
		}
		return r.fault(err, "list the images that may run in namespace %s", namespace)
	}
}

// EnsureEnvironment makes the environment's namespace and router and returns once the router takes
// connections. A running router is left alone, unless its addresses have changed. The host of an
// address does not matter: a port is that of every node. Without ports the router is for Traefik only.
func (r *Runtime) EnsureEnvironment(ctx context.Context, env runtime.Environment) error {
	if err := runtime.CheckName("environment", env.Name); err != nil {
		return err
	}
	if err := r.ensureEnvironment(ctx, env); err != nil {
		return fmt.Errorf("environment %s: %w", env.Name, err)
	}
	return nil
}

func nodePort(address string) (int, error) {
	if address == "" {
		return 0, nil
	}
	_, p, err := net.SplitHostPort(address)
	if err != nil {
		return 0, fmt.Errorf("address to listen on %q: expected host:port: %w", address, err)
	}
	n, err := strconv.Atoi(p)
	if err != nil || n < 1 || n > 65535 {
		return 0, fmt.Errorf("address to listen on %q: expected a port of the cluster's range for node ports, usually 30000 to 32767", address)
	}
	return n, nil
}

func (r *Runtime) ensureEnvironment(ctx context.Context, env runtime.Environment) error {
	httpPort, err := nodePort(env.HTTP)
	if err != nil {
		return err
	}
	httpsPort, err := nodePort(env.HTTPS)
	if err != nil {
		return err
	}
	var certificate runtime.Files
	if env.HTTPS != "" || env.Certificate != "" {
		if certificate, err = readCertificate(env); err != nil {
			return err
		}
	}
	m, err := r.ensureGroup(ctx, env.Name, sharedGroup)
	if err != nil {
		return err
	}
	if m.self, err = r.selfImage(ctx, m, routerName); err != nil {
		return err
	}
	if certificate != nil {
		s := m.secret(tlsName, nil, certificate)
		s.Object["type"] = string(corev1.SecretTypeTLS)
		if _, err := r.apply(ctx, s); err != nil {
			return err
		}
	}
	if err := r.ensurePair(ctx, m); err != nil {
		return err
	}
	if m.files != nil {
		if err := r.ensureGateway(ctx, m); err != nil {
			return fmt.Errorf("the gateway to the filestores: %w", err)
		}
	}
	all := m.router(r.opt, httpPort, httpsPort)
	if err := r.admit(ctx, m, podSpecOf(all[len(all)-1]), m.self); err != nil {
		return fmt.Errorf("router: %w", err)
	}
	for _, o := range all {
		if _, err := r.apply(ctx, o); err != nil {
			return r.portOwner(ctx, err, httpPort, httpsPort)
		}
	}
	if err := r.await(ctx, m.namespace, routerName, labels{labelRole: roleRouter}, nil, routerPort); err != nil {
		return fmt.Errorf("router: %w", err)
	}
	for _, at := range []string{env.HTTP, env.HTTPS} {
		if err := r.reachable(ctx, at); err != nil {
			return err
		}
	}
	return nil
}

// reachable waits a little until the nodes have heard of a port. From here it may not be reachable at
// all, which is no fault.
func (r *Runtime) reachable(ctx context.Context, at string) error {
	if at == "" {
		return nil
	}
	bounded, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	err := until(bounded, at+" answers", func() (bool, error) { return dials(bounded, at) == nil, nil })
	if err != nil && ctx.Err() == nil {
		r.log.WarnContext(ctx, "the router's port does not answer from here", "address", at, "error", err)
		return nil
	}
	return err
}

func podSpecOf(deployment *unstructured.Unstructured) corev1.PodSpec {
	var pod corev1.PodTemplateSpec
	template, _, _ := unstructured.NestedMap(deployment.Object, "spec", "template")
	_ = decode(&unstructured.Unstructured{Object: template}, &pod)
	return pod.Spec
}

// selfImage is the image of the waybill binary in a deployment that is there, or the one of now: what
// runs is not replaced for a newer binary.
func (r *Runtime) selfImage(ctx context.Context, m render, deployment string) (string, error) {
	var d unstructured.Unstructured
	found, err := r.get(ctx, kindDeployment, m.namespace, deployment, &d)
	if err != nil {
		return "", err
	}
	if found {
		spec := podSpecOf(&d)
		for _, c := range append(spec.InitContainers, spec.Containers...) {
			if len(c.Command) > 0 && c.Command[0] == "/waybill" {
				return c.Image, nil
			}
		}
	}
	if r.opt.Image == nil {
		return "", errors.New("the runtime was not told which image the router has")
	}
	ref, err := r.opt.Image(ctx)
	if err != nil {
		return "", fmt.Errorf("image of the waybill binary: %w", err)
	}
	return ref, nil
}

func readCertificate(env runtime.Environment) (runtime.Files, error) {
	files := runtime.Files{}
	for name, path := range map[string]string{corev1.TLSCertKey: env.Certificate, corev1.TLSPrivateKeyKey: env.Key} {
		content, err := os.ReadFile(path)
		if err != nil {
			return nil, fmt.Errorf("HTTPS needs a certificate and a key in PEM files: %w", err)
		}
		files[name] = content
	}
	return files, nil
}

// ensurePair makes the certificate and key through which the router takes orders, once.
func (r *Runtime) ensurePair(ctx context.Context, m render) error {
	var s corev1.Secret
	found, err := r.get(ctx, kindSecret, m.namespace, routerName, &s)
	if err != nil || found {
		return err
	}
	certificate, key, err := router.NewPair()
	if err != nil {
		return err
	}
	secret := m.secret(routerName, map[string]string{labelRole: roleRouter}, runtime.Files{router.PairCertificate: certificate, router.PairKey: key})
	defer r.hands.put(drift.Of(secret))()
	made, err := r.of(kindSecret, m.namespace).Create(ctx, secret, metav1.CreateOptions{FieldManager: manager})
	if isExisting(err) { // another call was quicker
		return nil
	}
	if err != nil {
		return r.fault(err, "create %s", named(secret))
	}
	return r.keep(ctx, secret, made)
}

// portOwner adds to a port's refusal which service has it.
func (r *Runtime) portOwner(ctx context.Context, err error, ports ...int) error {
	if !strings.Contains(err.Error(), "already allocated") {
		return err
	}
	all, lerr := r.of(kindService, "").List(ctx, metav1.ListOptions{})
	if lerr != nil {
		return err
	}
	for i := range all.Items {
		var s corev1.Service
		if decode(&all.Items[i], &s) != nil {
			continue
		}
		for _, p := range s.Spec.Ports {
			for _, want := range ports {
				if want != 0 && int(p.NodePort) == want {
					return fmt.Errorf("node port %d is in use by service %s/%s: stop that, or give the environment another address: %w", want, s.Namespace, s.Name, err)
				}
			}
		}
	}
	return err
}

// RemoveEnvironment takes away the environment's namespaces, their volumes' entries and Waybill's files
// on the volume. What Odoo wrote into the data folders stays. Absent is fine.
func (r *Runtime) RemoveEnvironment(ctx context.Context, environment string) error {
	if err := runtime.CheckName("environment", environment); err != nil {
		return err
	}
	fail := func(err error) error { return fmt.Errorf("remove environment %s: %w", environment, err) }
	all, err := r.list(ctx, kindNamespace, "", labels{labelEnvironment: environment})
	if err != nil {
		return fail(err)
	}
	for _, n := range all {
		for _, kind := range []string{kindDeployment, kindJob} {
			owned, err := r.list(ctx, kind, n.GetName(), labels{})
			if err != nil {
				return fail(err)
			}
			for _, o := range owned {
				if err := r.remove(ctx, kind, n.GetName(), o.GetName()); err != nil {
					return fail(err)
				}
			}
		}
	}
	for _, n := range all {
		if err := r.endPods(ctx, n.GetName(), labels{}, removalGrace); err != nil {
			return fail(err)
		}
		if err := r.remove(ctx, kindNamespace, "", n.GetName()); err != nil {
			return fail(err)
		}
	}
	for _, n := range all {
		if err := r.gone(ctx, kindNamespace, "", n.GetName()); err != nil {
			return fail(err)
		}
	}
	if err := r.removeVolumes(ctx, labels{labelEnvironment: environment}); err != nil {
		return fail(err)
	}
	return r.removeFolders(environment)
}

// Environments are those that this Waybill has in the cluster, by name.
func (r *Runtime) Environments(ctx context.Context) ([]string, error) {
	all, err := r.list(ctx, kindNamespace, "", labels{})
	if err != nil {
		return nil, fmt.Errorf("look for environments: %w", err)
	}
	var names []string
	for _, n := range all {
		names = append(names, n.GetLabels()[labelEnvironment])
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}

func (r *Runtime) removeVolumes(ctx context.Context, want labels) error {
	if r.opt.Filestores != nil {
		return nil
	}
	volumes, err := r.list(ctx, kindVolume, "", want)
	if err != nil {
		return err
	}
	for _, v := range volumes {
		if err := r.remove(ctx, kindVolume, "", v.GetName()); err != nil {
			return err
		}
	}
	for _, v := range volumes {
		if err := r.gone(ctx, kindVolume, "", v.GetName()); err != nil {
			return err
		}
	}
	return nil
}

func (r *Runtime) removeFolders(environment string) error {
	if r.opt.Filestores != nil {
		return nil
	}
	dir := filepath.Join(r.opt.DataDir, environmentDir(environment))
	if err := os.RemoveAll(filepath.Join(dir, "jobs")); err != nil {
		return fmt.Errorf("remove environment %s: remove its files: %w", environment, err)
	}
	// Empty folders go too; one with data in it refuses, as it shall.
	groups, err := os.ReadDir(filepath.Join(dir, "data"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove environment %s: %w", environment, err)
	}
	for _, g := range groups {
		_ = os.Remove(filepath.Join(dir, "data", g.Name()))
	}
	_ = os.Remove(filepath.Join(dir, "data"))
	_ = os.Remove(dir)
	return nil
}

// gone waits until an object that was deleted is no more.
func (r *Runtime) gone(ctx context.Context, kind, namespace, name string) error {
	return until(ctx, kind+" "+name+" is gone", func() (bool, error) {
		var o unstructured.Unstructured
		found, err := r.get(ctx, kind, namespace, name, &o)
		return !found && err == nil, err
	})
}

// dropGroup takes away a dedicated group's namespace once no pool or job is left in it.
func (r *Runtime) dropGroup(ctx context.Context, environment, group string) error {
	if group == sharedGroup || group == "" {
		return nil
	}
	namespace := r.namespace(environment, group)
	for _, kind := range []string{kindDeployment, kindJob} {
		if left, err := r.list(ctx, kind, namespace, labels{}); err != nil || len(left) > 0 {
			return err
		}
	}
	if err := r.remove(ctx, kindNamespace, "", namespace); err != nil {
		return err
	}
	if err := r.gone(ctx, kindNamespace, "", namespace); err != nil {
		return err
	}
	return r.removeVolumes(ctx, labels{labelEnvironment: environment, labelGroup: group})
}
