package kube

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"path/filepath"
	"strconv"

	"gocloud.dev/blob"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/waybill-dev/waybill/internal/bridge"
	"github.com/waybill-dev/waybill/internal/drift"
	"github.com/waybill-dev/waybill/internal/filestore"
	"github.com/waybill-dev/waybill/internal/filestore/gateway"
	"github.com/waybill-dev/waybill/internal/runtime"
)

// Filestores say that files are in a bucket, to which a gateway in each environment leads (docs/decisions/0020-filestores-in-object-storage.md).
type Filestores struct {
	Bucket *blob.Bucket      // as this process reaches it
	URL    string            // of it, for the gateway
	Env    map[string]string // what the gateway needs besides to reach it: credentials
	Cache  int64             // bytes of copies that a pod keeps; 0: 4 GiB
}

const defaultCache = 4 << 30

func (f *Filestores) cache() int64 {
	if f.Cache > 0 {
		return f.Cache
	}
	return defaultCache
}

// gatewayKey is the file, and the name in the Secret, of the key that tells groups' tokens.
const gatewayKey = "gateway.key"

// filesPrefix is where the files of a group are in the bucket.
func filesPrefix(environment, group string) string { return environment + "/" + group + "/" }

// Filestore is where the files of a group's database are.
func (r *Runtime) Filestore(environment, group, database string) filestore.Store {
	if r.opt.Filestores != nil {
		return filestore.InBucket(r.opt.Filestores.Bucket, filesPrefix(environment, group)+gateway.Segment(database)+"/").Of(r.opt.Filestores.URL) // as the gateway has it
	}
	return filestore.Dir(filepath.Join(r.DataDir(environment, group), "filestore", database))
}

// checkBucket looks whether this process may list the bucket, write to it and remove from it.
func (r *Runtime) checkBucket(ctx context.Context) error {
	f := r.opt.Filestores
	random := make([]byte, 8)
	_, _ = rand.Read(random)
	key := fmt.Sprintf(".waybill-check-%x", random)
	err := f.Bucket.WriteAll(ctx, key, random, nil)
	if err == nil {
		var got []byte
		if got, err = f.Bucket.ReadAll(ctx, key); err == nil && !bytes.Equal(got, random) {
			err = errors.New("it gives back something else than was written")
		}
		err = errors.Join(err, f.Bucket.Delete(ctx, key))
	}
	if err != nil {
		return fmt.Errorf("the bucket for filestores at %s is of no use: it must be there, and this server may list, read, write and delete in it: %w", f.URL, err)
	}
	return nil
}

// ensureGateway makes the environment's gateway, and returns once it answers. One that runs is left alone, unless the bucket or its
// credentials have changed.
func (r *Runtime) ensureGateway(ctx context.Context, m render) error {
	secret, err := r.gatewaySecret(ctx, m)
	if err != nil {
		return err
	}
	all := m.gateway(secret)
	deployment := all[len(all)-1]
	if err := r.admit(ctx, m, podSpecOf(deployment), m.self); err != nil {
		return err
	}
	if err := r.applyAll(ctx, all...); err != nil {
		return err
	}
	return r.await(ctx, m.namespace, filesName, labels{labelRole: roleFiles}, nil, gatewayPort)
}

// gatewaySecret holds the key, made once, and what the gateway needs to reach the bucket now.
func (r *Runtime) gatewaySecret(ctx context.Context, m render) (runtime.Files, error) {
	want := runtime.Files{}
	for name, value := range m.files.Env {
		want[name] = []byte(value)
	}
	want[gatewayKey] = newKey()
	first := m.secret(filesName, map[string]string{labelRole: roleFiles}, want)
	settled := r.hands.put(drift.Of(first))
	made, err := r.of(kindSecret, m.namespace).Create(ctx, first, metav1.CreateOptions{FieldManager: manager})
	if err == nil {
		err = r.keep(ctx, first, made)
		settled()
		return want, err
	}
	settled()
	if !isExisting(err) {
		return nil, r.fault(err, "create %s", named(first))
	}
	there, err := r.keyOfGateway(ctx, m)
	if err != nil {
		return nil, err
	}
	want[gatewayKey] = there[gatewayKey]
	if maps.EqualFunc(want, there, bytes.Equal) {
		return want, nil
	}
	_, err = r.apply(ctx, m.secret(filesName, map[string]string{labelRole: roleFiles}, want))
	return want, err
}

// newKey is a key for tokens, as a text.
func newKey() []byte {
	random := make([]byte, 32)
	_, _ = rand.Read(random)
	return []byte(hex.EncodeToString(random))
}

func (r *Runtime) keyOfGateway(ctx context.Context, m render) (runtime.Files, error) {
	var s corev1.Secret
	namespace := r.namespace(m.environment, sharedGroup)
	found, err := r.get(ctx, kindSecret, namespace, filesName, &s)
	switch {
	case err != nil:
		return nil, err
	case !found || len(s.Data[gatewayKey]) == 0:
		return nil, fmt.Errorf("environment %s has no gateway to its filestores yet (Secret %s/%s): it is made with the router", m.environment, namespace, filesName)
	}
	return s.Data, nil
}

// withFiles adds to a pool's or job's files where it finds the tenants' and what lets it in there.
func (r *Runtime) withFiles(ctx context.Context, m render, files runtime.Files) (runtime.Files, error) {
	config := bridge.FilesConfig{Protocol: bridge.Protocol, Cache: m.files.cache()}
	if m.isCopies() {
		config.URL, config.Token = "http://"+netip.AddrPortFrom(m.reach.Addr(), m.filesPort).String(), r.filesToken
	} else {
		secret, err := r.keyOfGateway(ctx, m)
		if err != nil {
			return nil, err
		}
		at, err := r.serviceAddress(ctx, r.namespace(m.environment, sharedGroup), filesName, gatewayPort)
		if err != nil {
			return nil, err
		}
		config.URL, config.Token = "http://"+at, gateway.Token(secret[gatewayKey], filesPrefix(m.environment, m.group))
	}
	content, err := json.Marshal(config)
	if err != nil {
		return nil, err
	}
	all := maps.Clone(files)
	if all == nil {
		all = runtime.Files{}
	}
	all[bridge.FilesFile] = content
	return all, nil
}

// port of the gateway, in its pod and of its service.
const gatewayPort = 8082

func gatewayListen() string { return ":" + strconv.Itoa(gatewayPort) }
