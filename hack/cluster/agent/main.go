// Command agent enforces the NetworkPolicies of a cluster of one node, for make cluster: it watches
// policies, namespaces and pods and writes one table of nftables anew when they change. It needs pods
// that reach each other through the node's routing, as with the CNI plugin ptp.
//
//	agent -kubeconfig FILE
//
// What it does not do: connections that are open already stay when a policy changes; a pod is open for the
// moment between its address and the table that names it.
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	k8s "k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	apiwatch "k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"
)

func main() {
	kubeconfig := flag.String("kubeconfig", "", "file")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *kubeconfig); err != nil {
		fmt.Fprintln(os.Stderr, "agent:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, kubeconfig string) error {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return err
	}
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		return err
	}
	changed := make(chan struct{}, 1)
	tell := func() {
		select {
		case changed <- struct{}{}:
		default:
		}
	}
	var stores [3]cache.Store
	for i, resource := range []schema.GroupVersionResource{
		{Version: "v1", Resource: "namespaces"}, {Version: "v1", Resource: "pods"}, {Group: "networking.k8s.io", Version: "v1", Resource: "networkpolicies"},
	} {
		informer := watch(ctx, client.Resource(resource))
		if _, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
			AddFunc: func(any) { tell() }, UpdateFunc: func(_, _ any) { tell() }, DeleteFunc: func(any) { tell() },
		}); err != nil {
			return err
		}
		go informer.RunWithContext(ctx)
		if !cache.WaitForCacheSync(ctx.Done(), informer.HasSynced) {
			return ctx.Err()
		}
		stores[i] = informer.GetStore()
	}
	tell()
	last, failed := "", false
	retry := time.NewTicker(time.Second)
	defer retry.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-changed:
		case <-retry.C:
			if !failed {
				continue
			}
		}
		next, err := read(stores)
		if err == nil && next != last {
			if err = load(ctx, next); err == nil {
				last = next
				slog.InfoContext(ctx, "rules written", "bytes", len(next))
			}
		}
		if failed = err != nil; failed && ctx.Err() == nil {
			slog.ErrorContext(ctx, "the rules of before stay", "error", err)
		}
	}
}

// watch keeps what the API server has of a kind.
func watch(ctx context.Context, of dynamic.ResourceInterface) cache.SharedIndexInformer {
	return cache.NewSharedIndexInformer(&cache.ListWatch{
		ListWithContextFunc: func(_ context.Context, options metav1.ListOptions) (k8s.Object, error) { return of.List(ctx, options) },
		WatchFuncWithContext: func(_ context.Context, options metav1.ListOptions) (apiwatch.Interface, error) {
			return of.Watch(ctx, options)
		},
	}, &unstructured.Unstructured{}, 0, nil)
}

func read(stores [3]cache.Store) (string, error) {
	s := state{namespaces: map[string]map[string]string{}}
	for _, o := range stores[0].List() {
		n := o.(*unstructured.Unstructured)
		s.namespaces[n.GetName()] = n.GetLabels()
	}
	var err error
	if s.pods, err = all[corev1.Pod](stores[1]); err != nil {
		return "", err
	}
	if s.policies, err = all[networkingv1.NetworkPolicy](stores[2]); err != nil {
		return "", err
	}
	return s.rules()
}

func all[T any](store cache.Store) ([]T, error) {
	objects := store.List()
	typed := make([]T, len(objects))
	for i, o := range objects {
		if err := k8s.DefaultUnstructuredConverter.FromUnstructured(o.(*unstructured.Unstructured).Object, &typed[i]); err != nil {
			return nil, err
		}
	}
	return typed, nil
}

func load(ctx context.Context, rules string) error {
	cmd := exec.CommandContext(ctx, "nft", "-f", "-")
	cmd.Stdin = bytes.NewReader([]byte(rules))
	if out, err := cmd.CombinedOutput(); err != nil {
		return errors.Join(fmt.Errorf("nft: %w", err), errors.New(string(out)))
	}
	return nil
}
