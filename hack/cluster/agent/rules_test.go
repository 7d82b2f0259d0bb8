package main

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

func pod(namespace, name, ip string, labels map[string]string) corev1.Pod {
	return corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, Labels: labels}, Status: corev1.PodStatus{PodIP: ip, Phase: corev1.PodRunning},
		Spec: corev1.PodSpec{Containers: []corev1.Container{{Ports: []corev1.ContainerPort{{Name: "web", ContainerPort: 8069}}}}}}
}

func example() state {
	tcp, both := corev1.ProtocolTCP, []networkingv1.PolicyType{networkingv1.PolicyTypeIngress, networkingv1.PolicyTypeEgress}
	web := intstr.FromString("web")
	ended := pod("a", "ended", "10.0.0.9", nil)
	ended.Status.Phase = corev1.PodSucceeded
	return state{
		namespaces: map[string]map[string]string{"a": {"team": "a"}, "b": {"team": "b"}},
		pods: []corev1.Pod{
			pod("a", "pool", "10.0.0.2", map[string]string{"role": "web"}), pod("a", "router", "10.0.0.3", map[string]string{"role": "router"}),
			pod("b", "other", "10.0.0.4", nil), ended,
		},
		policies: []networkingv1.NetworkPolicy{
			{ObjectMeta: metav1.ObjectMeta{Namespace: "a", Name: "deny"}, Spec: networkingv1.NetworkPolicySpec{PolicyTypes: both}},
			{ObjectMeta: metav1.ObjectMeta{Namespace: "a", Name: "web"}, Spec: networkingv1.NetworkPolicySpec{
				PodSelector: metav1.LabelSelector{MatchLabels: map[string]string{"role": "web"}}, PolicyTypes: both,
				Ingress: []networkingv1.NetworkPolicyIngressRule{{
					From:  []networkingv1.NetworkPolicyPeer{{PodSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"role": "router"}}}},
					Ports: []networkingv1.NetworkPolicyPort{{Protocol: &tcp, Port: &web}}}},
				Egress: []networkingv1.NetworkPolicyEgressRule{
					{To: []networkingv1.NetworkPolicyPeer{{IPBlock: &networkingv1.IPBlock{CIDR: "0.0.0.0/0", Except: []string{"10.0.0.0/24"}}}}},
					{To: []networkingv1.NetworkPolicyPeer{{NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"team": "none"}}}}}},
			}},
		},
	}
}

func TestRules(t *testing.T) {
	rules, err := example().rules()
	require.NoError(t, err)
	require.Contains(t, rules, "\tchain in-10-0-0-2 {\n\t\t# pod a/pool\n\t\tip saddr 10.0.0.2 return\n\t\tip saddr { 10.0.0.3 } tcp dport 8069 return\n\t\tdrop\n\t}")
	require.Contains(t, rules, "\tchain out-10-0-0-2 {\n\t\t# pod a/pool\n\t\tip daddr 10.0.0.2 return\n\t\tip daddr 0.0.0.0/0 ip daddr != { 10.0.0.0/24 } return\n\t\tdrop\n\t}", "a peer that nobody matches allows nobody")
	require.Contains(t, rules, "\tchain in-10-0-0-3 {\n\t\t# pod a/router\n\t\tip saddr 10.0.0.3 return\n\t\tdrop\n\t}", "selected, and nothing allowed")
	require.NotContains(t, rules, "10-0-0-4", "no policy selects it")
	require.NotContains(t, rules, "10.0.0.9", "its address may be another's by now")

	again := example()
	again.pods[0], again.pods[2] = again.pods[2], again.pods[0]
	again.policies[0], again.policies[1] = again.policies[1], again.policies[0]
	same, err := again.rules()
	require.NoError(t, err)
	require.Equal(t, rules, same, "the order of a list is no change")
}

// nft itself takes what is rendered; it changes nothing.
func TestRulesAreTaken(t *testing.T) {
	nft, err := exec.LookPath("nft")
	if err != nil || os.Getuid() != 0 {
		t.Skip("nft, and root, are needed to ask whether it takes the rules")
	}
	for name, s := range map[string]state{"example": example(), "empty": {}} {
		rules, err := s.rules()
		require.NoError(t, err)
		cmd := exec.CommandContext(t.Context(), nft, "--check", "-f", "-")
		cmd.Stdin = strings.NewReader(rules)
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "%s: %s\n%s", name, out, rules)
	}
}
