package main

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// table is the agent's own in nftables: it comes and goes as a whole.
const table = "waybill-policies"

// state is what rules are made from.
type state struct {
	namespaces map[string]map[string]string // labels by name
	pods       []corev1.Pod
	policies   []networkingv1.NetworkPolicy
}

// rules renders the whole table, as nft takes it in one transaction. A pod that no policy selects is open,
// as it is without an agent. What passes always, as Kubernetes has it: the node itself to its pods, and a pod
// to itself, which it does through a service.
func (s state) rules() (string, error) {
	var chains, outs, ins []string
	pods := slices.Clone(s.pods)
	slices.SortFunc(pods, func(a, b corev1.Pod) int {
		return strings.Compare(a.Namespace+"/"+a.Name, b.Namespace+"/"+b.Name)
	})
	policies := slices.Clone(s.policies)
	slices.SortFunc(policies, func(a, b networkingv1.NetworkPolicy) int {
		return strings.Compare(a.Namespace+"/"+a.Name, b.Namespace+"/"+b.Name)
	})
	seen := map[string]bool{}
	for _, p := range pods {
		if !onPodNetwork(p) || seen[p.Status.PodIP] {
			continue
		}
		seen[p.Status.PodIP] = true
		var in, out []string
		isolatedIn, isolatedOut := false, false
		for _, policy := range policies {
			selected, err := selects(policy, p)
			if err != nil {
				return "", err
			}
			if !selected {
				continue
			}
			forIn, forOut := directions(policy)
			if forIn {
				isolatedIn = true
				for _, rule := range policy.Spec.Ingress {
					lines, err := s.ingress(policy.Namespace, p, rule)
					if err != nil {
						return "", fmt.Errorf("policy %s/%s: %w", policy.Namespace, policy.Name, err)
					}
					in = append(in, lines...)
				}
			}
			if forOut {
				isolatedOut = true
				for _, rule := range policy.Spec.Egress {
					lines, err := s.egress(policy.Namespace, rule)
					if err != nil {
						return "", fmt.Errorf("policy %s/%s: %w", policy.Namespace, policy.Name, err)
					}
					out = append(out, lines...)
				}
			}
		}
		id := strings.ReplaceAll(p.Status.PodIP, ".", "-")
		comment := fmt.Sprintf("\t\t# pod %s/%s", p.Namespace, p.Name)
		if isolatedOut {
			outs = append(outs, fmt.Sprintf("%s : jump out-%s", p.Status.PodIP, id))
			chains = append(chains, chain("out-"+id, comment, append([]string{"ip daddr " + p.Status.PodIP}, out...)))
		}
		if isolatedIn {
			ins = append(ins, fmt.Sprintf("%s : jump in-%s", p.Status.PodIP, id))
			chains = append(chains, chain("in-"+id, comment, append([]string{"ip saddr " + p.Status.PodIP}, in...)))
		}
	}
	var b strings.Builder
	// Named first, so that deleting it works where there is none yet.
	fmt.Fprintf(&b, "table ip %[1]s\ndelete table ip %[1]s\ntable ip %[1]s {\n", table)
	for _, c := range chains {
		b.WriteString(c)
	}
	vmap := func(field string, of []string) string {
		if len(of) == 0 {
			return ""
		}
		return fmt.Sprintf("\t\tip %s vmap { %s }\n", field, strings.Join(of, ", "))
	}
	// After the services' addresses were replaced with pods' (prerouting), and answers of what was let through.
	fmt.Fprintf(&b, "\tchain forward {\n\t\ttype filter hook forward priority filter\n\t\tct state established,related accept\n%s%s\t}\n", vmap("saddr", outs), vmap("daddr", ins))
	fmt.Fprintf(&b, "\tchain input {\n\t\ttype filter hook input priority filter\n\t\tct state established,related accept\n%s\t}\n}\n", vmap("saddr", outs))
	return b.String(), nil
}

// chain returns for what a rule allows, and drops what none does.
func chain(name, comment string, lines []string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "\tchain %s {\n%s\n", name, comment)
	for _, l := range lines {
		b.WriteString("\t\t" + strings.TrimSpace(strings.TrimSpace(l)+" return") + "\n")
	}
	b.WriteString("\t\tdrop\n\t}\n")
	return b.String()
}

func onPodNetwork(p corev1.Pod) bool {
	if p.Spec.HostNetwork || p.Status.PodIP == "" || p.Status.Phase == corev1.PodSucceeded || p.Status.Phase == corev1.PodFailed {
		return false
	}
	a, err := netip.ParseAddr(p.Status.PodIP)
	return err == nil && a.Is4()
}

func selects(policy networkingv1.NetworkPolicy, p corev1.Pod) (bool, error) {
	if policy.Namespace != p.Namespace {
		return false, nil
	}
	return matches(&policy.Spec.PodSelector, p.Labels)
}

func matches(selector *metav1.LabelSelector, of map[string]string) (bool, error) {
	compiled, err := metav1.LabelSelectorAsSelector(selector)
	if err != nil {
		return false, err
	}
	return compiled.Matches(labels.Set(of)), nil
}

func directions(policy networkingv1.NetworkPolicy) (in, out bool) {
	if len(policy.Spec.PolicyTypes) == 0 {
		return true, len(policy.Spec.Egress) > 0
	}
	return slices.Contains(policy.Spec.PolicyTypes, networkingv1.PolicyTypeIngress), slices.Contains(policy.Spec.PolicyTypes, networkingv1.PolicyTypeEgress)
}

func (s state) ingress(namespace string, p corev1.Pod, rule networkingv1.NetworkPolicyIngressRule) ([]string, error) {
	from, err := s.peers("saddr", namespace, rule.From)
	if err != nil {
		return nil, err
	}
	var lines []string
	ports, err := portsOf(rule.Ports, func(name string, protocol corev1.Protocol) []int32 { return named(p, name, protocol) })
	if err != nil {
		return nil, err
	}
	for _, f := range from {
		for _, port := range ports {
			lines = append(lines, f+port)
		}
	}
	return lines, nil
}

func (s state) egress(namespace string, rule networkingv1.NetworkPolicyEgressRule) ([]string, error) {
	to, err := s.peers("daddr", namespace, rule.To)
	if err != nil {
		return nil, err
	}
	ports, err := portsOf(rule.Ports, nil)
	if err != nil {
		return nil, err
	}
	var lines []string
	for _, t := range to {
		for _, port := range ports {
			lines = append(lines, t+port)
		}
	}
	return lines, nil
}

// peers renders each peer as a match of an address; none given is everybody.
func (s state) peers(field, namespace string, peers []networkingv1.NetworkPolicyPeer) ([]string, error) {
	if len(peers) == 0 {
		return []string{""}, nil
	}
	var lines []string
	for _, peer := range peers {
		if b := peer.IPBlock; b != nil {
			if p, err := netip.ParsePrefix(b.CIDR); err != nil || !p.Addr().Is4() {
				continue // the cluster has no addresses of version 6
			}
			line := fmt.Sprintf("ip %s %s ", field, b.CIDR)
			if len(b.Except) > 0 {
				line += fmt.Sprintf("ip %s != { %s } ", field, strings.Join(b.Except, ", "))
			}
			lines = append(lines, line)
			continue
		}
		addresses, err := s.addresses(namespace, peer)
		if err != nil {
			return nil, err
		}
		if len(addresses) > 0 {
			lines = append(lines, fmt.Sprintf("ip %s { %s } ", field, strings.Join(addresses, ", ")))
		}
	}
	return lines, nil
}

func (s state) addresses(namespace string, peer networkingv1.NetworkPolicyPeer) ([]string, error) {
	var all []string
	for _, p := range s.pods {
		if !onPodNetwork(p) {
			continue
		}
		if peer.NamespaceSelector == nil {
			if p.Namespace != namespace {
				continue
			}
		} else if ok, err := matches(peer.NamespaceSelector, s.namespaces[p.Namespace]); err != nil || !ok {
			if err != nil {
				return nil, err
			}
			continue
		}
		if peer.PodSelector != nil {
			if ok, err := matches(peer.PodSelector, p.Labels); err != nil || !ok {
				if err != nil {
					return nil, err
				}
				continue
			}
		}
		all = append(all, p.Status.PodIP)
	}
	slices.Sort(all)
	return slices.Compact(all), nil
}

// portsOf renders each port as a match; none given is every port.
func portsOf(ports []networkingv1.NetworkPolicyPort, resolve func(string, corev1.Protocol) []int32) ([]string, error) {
	if len(ports) == 0 {
		return []string{""}, nil
	}
	var lines []string
	for _, p := range ports {
		protocol := corev1.ProtocolTCP
		if p.Protocol != nil {
			protocol = *p.Protocol
		}
		l4 := strings.ToLower(string(protocol))
		switch {
		case p.Port == nil:
			lines = append(lines, "meta l4proto "+l4)
		case p.Port.Type == intstr.Int && p.EndPort != nil:
			lines = append(lines, fmt.Sprintf("%s dport %d-%d", l4, p.Port.IntVal, *p.EndPort))
		case p.Port.Type == intstr.Int:
			lines = append(lines, fmt.Sprintf("%s dport %d", l4, p.Port.IntVal))
		case resolve == nil:
			return nil, fmt.Errorf("port %q by name: this agent knows ports by name for what comes in only; give the number", p.Port.StrVal)
		default:
			for _, n := range resolve(p.Port.StrVal, protocol) {
				lines = append(lines, fmt.Sprintf("%s dport %d", l4, n))
			}
		}
	}
	return lines, nil
}

func named(p corev1.Pod, name string, protocol corev1.Protocol) []int32 {
	var all []int32
	for _, c := range append(slices.Clone(p.Spec.InitContainers), p.Spec.Containers...) {
		for _, port := range c.Ports {
			of := port.Protocol
			if of == "" {
				of = corev1.ProtocolTCP
			}
			if port.Name == name && of == protocol {
				all = append(all, port.ContainerPort)
			}
		}
	}
	return all
}
