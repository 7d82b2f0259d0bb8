package kube

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Check looks at once at what everything stands on: that the cluster answers and allows what is needed,
// that it knows the kinds of routes, that the volume is there and may be shared, and that this process sees it.
func (r *Runtime) Check(ctx context.Context) error {
	if err := r.checkRights(ctx); err != nil {
		return err
	}
	if err := r.checkKinds(ctx); err != nil {
		return err
	}
	if r.opt.Filestores != nil {
		return r.checkBucket(ctx)
	}
	if _, err := r.sharedVolume(ctx); err != nil {
		return err
	}
	if info, err := os.Stat(r.opt.DataDir); err != nil || !info.IsDir() {
		return fmt.Errorf("the shared volume %s is not to be seen at %s: mount it there, into Waybill's own pod or machine: %w", r.opt.Volume, r.opt.DataDir, errors.Join(err, notFolder(err)))
	}
	probe, err := os.CreateTemp(r.opt.DataDir, ".waybill-check-*")
	if err != nil {
		return fmt.Errorf("the shared volume %s at %s cannot be written to: %w", r.opt.Volume, r.opt.DataDir, err)
	}
	_ = probe.Close()
	return os.Remove(probe.Name())
}

func notFolder(err error) error {
	if err == nil {
		return errors.New("it is no folder")
	}
	return nil
}

// Version is the version of the cluster's API server.
func (r *Runtime) Version(ctx context.Context) (string, error) {
	nodes, err := r.nodes(ctx)
	if err != nil {
		return "", err
	}
	if len(nodes) == 0 {
		return "", fmt.Errorf("the cluster at %s has no node", r.opt.Config.Host)
	}
	return fmt.Sprintf("%d nodes, kubelet %s", len(nodes), nodes[0].Status.NodeInfo.KubeletVersion), nil
}

// sharedVolume is what the volume of every namespace is made from.
func (r *Runtime) sharedVolume(ctx context.Context) (corev1.PersistentVolumeSpec, error) {
	var v corev1.PersistentVolume
	name := r.opt.Volume
	if namespace, claim, ok := strings.Cut(name, "/"); ok {
		var c corev1.PersistentVolumeClaim
		found, err := r.get(ctx, kindClaim, namespace, claim, &c)
		switch {
		case err != nil:
			return v.Spec, err
		case !found || c.Spec.VolumeName == "":
			return v.Spec, fmt.Errorf("claim %s for filestores is not there or not bound to a volume yet: is there a storage class for ReadWriteMany?", r.opt.Volume)
		}
		name = c.Spec.VolumeName
	}
	found, err := r.get(ctx, kindVolume, "", name, &v)
	if err != nil {
		return v.Spec, err
	}
	if !found {
		return v.Spec, fmt.Errorf("PersistentVolume %s for filestores is not there: make one that can be mounted ReadWriteMany (NFS, CephFS, EFS, Azure Files …)", name)
	}
	if slices.Contains(v.Spec.AccessModes, corev1.ReadWriteMany) && v.Spec.HostPath == nil && v.Spec.Local == nil {
		return v.Spec, nil
	}
	nodes, err := r.nodes(ctx)
	if err != nil {
		return v.Spec, err
	}
	if len(nodes) > 1 {
		return v.Spec, fmt.Errorf("PersistentVolume %s belongs to one node, and the cluster has %d: the pods of a pool would not see the same filestore; give a volume that can be mounted ReadWriteMany by all of them (NFS, CephFS, EFS, Azure Files …), or a bucket (--filestores)", name, len(nodes))
	}
	return v.Spec, nil
}

func (r *Runtime) nodes(ctx context.Context) ([]corev1.Node, error) {
	res, err := r.of(kindNode, "").List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, r.fault(err, "list nodes")
	}
	all := make([]corev1.Node, len(res.Items))
	for i := range res.Items {
		if err := decode(&res.Items[i], &all[i]); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// podNetworks are the ranges that nodes give addresses of pods from, as far as the cluster tells.
func (r *Runtime) podNetworks(ctx context.Context) ([]netip.Prefix, error) {
	nodes, err := r.nodes(ctx)
	if err != nil {
		return nil, err
	}
	var all []netip.Prefix
	for _, n := range nodes {
		for _, c := range append(slices.Clone(n.Spec.PodCIDRs), n.Spec.PodCIDR) {
			if p, err := netip.ParsePrefix(c); err == nil && !slices.Contains(all, p) {
				all = append(all, p)
			}
		}
	}
	return all, nil
}
