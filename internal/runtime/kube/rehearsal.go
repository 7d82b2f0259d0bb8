package kube

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"

	"github.com/waybill-dev/waybill/internal/filestore"
	"github.com/waybill-dev/waybill/internal/filestore/gateway"
	"github.com/waybill-dev/waybill/internal/runtime"
)

// copies begins the names of the environments that rehearsals are to this package. None of an estate begins with a digit.
const copies = "0-rehearsal-"

// Rehearsal is where the copies of one rehearsal work: a namespace like an environment's, except that its pods reach one address and
// nothing else, and that the data in it goes with it. The caller's name of the environment does not matter: there is one.
type Rehearsal struct {
	r           *Runtime
	environment string
	decoy       net.Listener // beside the server, which the pods must not reach
	files       *http.Server // gateway to the copied files, where they are on no shared volume
}

// Rehearsal makes the place of the rehearsal of that id, whose pods reach the server. Without a valid one it makes nothing, and is good for
// removing what is there. Where filestores are in a bucket, the copy of the tenant's is in dir, a folder of this machine.
func (r *Runtime) Rehearsal(ctx context.Context, id string, server netip.AddrPort, dir string) (*Rehearsal, error) {
	h, err := r.rehearsal(id, server)
	if err != nil {
		return h, err
	}
	h.r.copies = filepath.Join(dir, "filestores")
	if !server.IsValid() {
		return h, err
	}
	// All that takes time goes before: how long an update takes is what a rehearsal is for.
	if h.r.opt.Image == nil {
		return nil, errors.New("the runtime was not told which image the waybill binary is in")
	}
	if h.r.self, err = h.r.opt.Image(ctx); err != nil {
		return nil, fmt.Errorf("image of the waybill binary: %w", err)
	}
	if r.opt.Filestores != nil {
		if err := h.serveCopies(ctx, server.Addr()); err != nil {
			return nil, fmt.Errorf("the gateway to the copied files: %w", err)
		}
	}
	if _, err = h.r.ensureGroup(ctx, h.environment, sharedGroup); err != nil {
		return nil, errors.Join(err, h.Close())
	}
	if h.decoy, err = net.Listen("tcp", net.JoinHostPort(server.Addr().String(), "0")); err != nil {
		return nil, errors.Join(err, h.Close())
	}
	h.r.decoy = h.decoy.Addr().String()
	go func() {
		for {
			conn, err := h.decoy.Accept()
			if err != nil {
				return // closed
			}
			_ = conn.Close()
		}
	}()
	return h, nil
}

func (r *Runtime) rehearsal(id string, server netip.AddrPort) (*Rehearsal, error) {
	environment := copies + id
	if err := runtime.CheckName("rehearsal", environment); err != nil {
		return nil, err
	}
	own := *r
	own.reach = server
	own.opt.Keeper = nil // nobody looks whether it stays so: it is gone within the hour
	return &Rehearsal{r: &own, environment: environment}, nil
}

// StartJob does what Runtime.StartJob does, here.
func (h *Rehearsal) StartJob(ctx context.Context, job runtime.Job) error {
	if h.decoy == nil {
		return errors.New("this rehearsal is over: nothing begins in it any more")
	}
	job.Environment = h.environment
	return h.r.StartJob(ctx, job)
}

// Job does what Runtime.Job does, here.
func (h *Rehearsal) Job(ctx context.Context, _, name string) (runtime.JobState, error) {
	return h.r.Job(ctx, h.environment, name)
}

// WaitJob does what Runtime.WaitJob does, here.
func (h *Rehearsal) WaitJob(ctx context.Context, _, name string) (runtime.JobState, error) {
	return h.r.WaitJob(ctx, h.environment, name)
}

// RemoveJob does what Runtime.RemoveJob does, here.
func (h *Rehearsal) RemoveJob(ctx context.Context, _, name string) error {
	return h.r.RemoveJob(ctx, h.environment, name)
}

// RemoveEnvironment removes everything: pods, namespace, and the data. Absent is fine.
func (h *Rehearsal) RemoveEnvironment(ctx context.Context, _ string) error {
	return h.r.removeCopies(ctx, h.environment)
}

// DataDir is the folder here that a group's pods see as /var/lib/odoo.
func (h *Rehearsal) DataDir(_, group string) string { return h.r.DataDir(h.environment, group) }

// EnsureDataDir makes that folder for the pods' user.
func (h *Rehearsal) EnsureDataDir(_, group string) error {
	return h.r.EnsureDataDir(h.environment, group)
}

// Filestore is where the copy of a tenant's files is.
func (h *Rehearsal) Filestore(_, group, database string) filestore.Store {
	if h.r.opt.Filestores != nil {
		return filestore.Dir(filepath.Join(h.r.copies, group, gateway.Segment(database)))
	}
	return h.r.Filestore(h.environment, group, database)
}

// serveCopies lets the pods at the copied files, as an environment's gateway does at the bucket.
func (h *Rehearsal) serveCopies(ctx context.Context, at netip.Addr) error {
	listener, err := net.ListenTCP("tcp", net.TCPAddrFromAddrPort(netip.AddrPortFrom(at, 0)))
	if err != nil {
		return err
	}
	key := newKey()
	h.r.filesPort, h.r.filesToken = listener.Addr().(*net.TCPAddr).AddrPort().Port(), gateway.Token(key, filesPrefix(h.environment, sharedGroup))
	h.files = gateway.Server(gateway.New(gateway.Options{
		Key: key, Log: h.r.log,
		Store: func(_, database string) filestore.Store { return h.Filestore("", sharedGroup, database) }, // no other token was made
	}))
	go func() {
		if err := h.files.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			h.r.log.ErrorContext(ctx, "the gateway to a rehearsal's files ended", "error", err)
		}
	}()
	return nil
}

// Close leaves the runtime as it is.
func (h *Rehearsal) Close() error {
	var errs []error
	if h.files != nil {
		errs = append(errs, h.files.Close())
	}
	if h.decoy != nil {
		errs = append(errs, h.decoy.Close())
	}
	return errors.Join(errs...)
}

// SweepRehearsals removes what is left of those rehearsals of this Waybill that are over. Each is asked about after it was seen here, so that one
// that another server begins meanwhile is left alone.
func (r *Runtime) SweepRehearsals(ctx context.Context, over func(ctx context.Context, id string) (bool, error)) error {
	all, err := r.Environments(ctx)
	if err != nil {
		return err
	}
	var folders []string
	if r.opt.Filestores == nil {
		if folders, err = filepath.Glob(filepath.Join(r.opt.DataDir, environmentDir(copies)+"*")); err != nil {
			return err
		}
	}
	for _, f := range folders {
		all = append(all, filepath.Base(f))
	}
	slices.Sort(all)
	for _, environment := range slices.Compact(all) {
		id, ok := strings.CutPrefix(environment, copies)
		if !ok {
			continue
		}
		if ended, err := over(ctx, id); err != nil {
			return fmt.Errorf("find out whether rehearsal %s is over: %w", id, err)
		} else if !ended {
			continue
		}
		r.log.InfoContext(ctx, "removing what a killed rehearsal left in the cluster", "rehearsal", id)
		if err := r.removeCopies(ctx, environment); err != nil {
			return err
		}
	}
	return nil
}

// removeCopies removes a rehearsal. The folder goes last, as the mark by which a sweep finds the rest.
func (r *Runtime) removeCopies(ctx context.Context, environment string) error {
	if err := r.RemoveEnvironment(ctx, environment); err != nil || r.opt.Filestores != nil {
		return err
	}
	return os.RemoveAll(filepath.Join(r.opt.DataDir, environmentDir(environment)))
}

// DataRoot is the root of the volume that the data folders are on, here; empty where there is none.
func (r *Runtime) DataRoot() string { return r.opt.DataDir }

// OwnAddress is the address from which this process talks to the cluster: that of its pod or of its node. Pods reach it there.
func (r *Runtime) OwnAddress(ctx context.Context) (netip.Addr, error) {
	at := r.opt.Config.Host
	if !strings.Contains(at, "://") {
		at = "https://" + at
	}
	u, err := url.Parse(at)
	if err != nil {
		return netip.Addr{}, fmt.Errorf("the cluster's address: %w", err)
	}
	host, port := u.Hostname(), u.Port()
	if port == "" {
		port = "443"
	}
	conn, err := (&net.Dialer{}).DialContext(ctx, "udp", net.JoinHostPort(host, port)) // nothing is sent: the machine says only which way it would go
	if err != nil {
		return netip.Addr{}, fmt.Errorf("find this machine's own address on the way to the cluster at %s: %w", host, err)
	}
	defer conn.Close()
	own := conn.LocalAddr().(*net.UDPAddr).AddrPort().Addr().Unmap().WithZone("")
	if own.IsLoopback() {
		return netip.Addr{}, fmt.Errorf("the cluster's API is reached at %s, which says nothing of where pods reach this machine: name that address with --rehearsal-address", host)
	}
	return own, nil
}

// toServer lets a rehearsal's pods out to their server and nowhere else, not even to names of hosts, and nobody in.
func (m render) toServer(opt Options) []networkingv1.NetworkPolicyEgressRule {
	if !m.reach.IsValid() {
		return nil
	}
	address := netip.PrefixFrom(m.reach.Addr(), m.reach.Addr().BitLen())
	to := []networkingv1.NetworkPolicyPeer{{IPBlock: &networkingv1.IPBlock{CIDR: address.String()}}}
	if opt.Namespace != "" {
		// Some network plugins do not count pods among a block's addresses. Where Waybill is a pod, its namespace is named too.
		to = append(to, fromNamespace(opt.Namespace))
	}
	ports := []networkingv1.NetworkPolicyPort{port(int(m.reach.Port()))}
	if m.filesPort != 0 {
		ports = append(ports, port(int(m.filesPort)))
	}
	return []networkingv1.NetworkPolicyEgressRule{{To: to, Ports: ports}}
}

// gate is what each pod of a rehearsal begins with: nothing of a copy runs where it could send something. The cluster's API, of which every
// pod is told, is tried too.
func (m render) gate() corev1.Container {
	return corev1.Container{
		Name: containerGate, Image: m.self, Command: []string{"/waybill", "shut-in", "--reach", m.reach.String(), "--not", m.decoy},
		Resources: little("64Mi"), SecurityContext: confined(), TerminationMessagePolicy: corev1.TerminationMessageFallbackToLogsOnError,
	}
}

// gateSays is why a job's pod did not come to its work.
func gateSays(p corev1.Pod) error {
	for _, s := range p.Status.InitContainerStatuses {
		if t := s.State.Terminated; s.Name == containerGate && t != nil && t.ExitCode != 0 {
			return &unfit{fmt.Errorf("pod %s/%s does not begin: %s", p.Namespace, p.Name, strings.TrimSpace(t.Message))}
		}
	}
	return nil
}

// isCopies says whether the namespace is a rehearsal's.
func (m render) isCopies() bool { return strings.HasPrefix(m.environment, copies) }
