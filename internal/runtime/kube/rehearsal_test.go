package kube

import (
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/rest"

	"github.com/waybill-dev/waybill/internal/runtime"
)

// What a rehearsal's pods reach: one port of one address, and nothing before there is one or once it is over.
func TestRehearsalReachesItsServerOnly(t *testing.T) {
	policies := func(h *Rehearsal) (all []networkingv1.NetworkPolicySpec) {
		m := h.r.render(h.environment, sharedGroup)
		for _, o := range m.network(h.r.opt, []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}) {
			var p networkingv1.NetworkPolicy
			require.NoError(t, decode(o, &p))
			all = append(all, p.Spec)
		}
		return all
	}
	_, opt := example(sharedGroup)
	opt.Namespace = "" // a process on a node
	r := &Runtime{opt: opt}
	for _, c := range []struct{ server, cidr string }{{"192.0.2.7:40001", "192.0.2.7/32"}, {"[2001:db8::7]:40001", "2001:db8::7/128"}} {
		h, err := r.rehearsal("abc", netip.MustParseAddrPort(c.server))
		require.NoError(t, err)
		all := policies(h)
		require.Len(t, all, 1, "nothing is added to it")
		require.Empty(t, all[0].PodSelector.MatchLabels, "it is about every pod")
		require.Equal(t, []networkingv1.PolicyType{networkingv1.PolicyTypeIngress, networkingv1.PolicyTypeEgress}, all[0].PolicyTypes)
		require.Empty(t, all[0].Ingress)
		require.Equal(t, []networkingv1.NetworkPolicyEgressRule{{To: []networkingv1.NetworkPolicyPeer{{IPBlock: &networkingv1.IPBlock{CIDR: c.cidr}}},
			Ports: []networkingv1.NetworkPolicyPort{port(40001)}}}, all[0].Egress)
	}
	over, err := r.Rehearsal(t.Context(), "abc", netip.AddrPort{}, t.TempDir())
	require.NoError(t, err)
	require.Empty(t, policies(over)[0].Egress)
	require.Nil(t, over.r.opt.Keeper)
	require.ErrorContains(t, over.StartJob(t.Context(), runtime.Job{}), "is over")
	require.False(t, r.reach.IsValid(), "the runtime itself stays as it is")
	_, err = r.Rehearsal(t.Context(), "../x", netip.AddrPort{}, t.TempDir())
	require.Error(t, err)
}

// A namespace of a rehearsal is none that an environment could have: a sweep must not take that.
func TestRehearsalIsNoEnvironment(t *testing.T) {
	_, opt := example(sharedGroup)
	r := &Runtime{opt: opt}
	h, err := r.Rehearsal(t.Context(), "abc", netip.AddrPort{}, t.TempDir())
	require.NoError(t, err)
	require.Regexp(t, "^[0-9]", h.environment, "the estate's environments begin with a letter")
	is := func(m render) any {
		label, _, _ := unstructured.NestedString(m.namespaceObject().Object, "metadata", "labels", labelRole)
		return label
	}
	require.Equal(t, roleRehearsal, is(h.r.render(h.environment, sharedGroup)))
	require.Empty(t, is(r.render("rehearsal-abc", sharedGroup)))
}

func TestOwnAddress(t *testing.T) {
	for _, host := range []string{"https://127.0.0.1:6443", "127.0.0.1:6443", "http://127.0.0.1"} {
		r := &Runtime{opt: Options{Config: &rest.Config{Host: host}}}
		_, err := r.OwnAddress(t.Context())
		require.ErrorContains(t, err, "--rehearsal-address", host)
	}
}
