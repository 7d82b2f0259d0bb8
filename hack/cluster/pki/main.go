// Command pki makes what the parts of a one-node cluster know each other by: an authority, a certificate
// for each part and a kubeconfig for each client. Where they are there already, for this address and for
// longer than a month, it does nothing.
//
//	go run ./hack/cluster/pki -dir FOLDER -node ADDRESS -service ADDRESS
package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"flag"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"

	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"
)

const (
	lasts = 365 * 24 * time.Hour
	spare = 30 * 24 * time.Hour
)

// part is somebody with a certificate.
type part struct {
	file, name, group string
	serves            bool
	client            bool // gets a kubeconfig
	front             bool // is known by the authority of those who speak for others
}

// The names and groups are those that the API server's own roles are bound to.
var parts = []part{
	{file: "apiserver", name: "kube-apiserver", serves: true},
	{file: "apiserver-kubelet", name: "kube-apiserver-kubelet-client", group: "system:masters"},
	{file: "etcd", name: "etcd", serves: true},
	{file: "apiserver-etcd", name: "kube-apiserver-etcd-client"},
	{file: "kubelet-serving", name: "kubelet", serves: true},
	{file: "admin", name: "admin", group: "system:masters", client: true},
	{file: "controller-manager", name: "system:kube-controller-manager", client: true},
	{file: "scheduler", name: "system:kube-scheduler", client: true},
	{file: "kubelet", name: "system:node:waybill", group: "system:nodes", client: true},
	{file: "proxy", name: "system:kube-proxy", client: true},
	{file: "agent", name: "waybill:policy-agent", client: true},
	{file: "front-proxy", name: "front-proxy", front: true}, // the API server, which tells a server behind it who asks
}

func main() {
	dir := flag.String("dir", "", "folder for certificates and kubeconfigs")
	node := flag.String("node", "", "address of the node and of the API server")
	service := flag.String("service", "", "address of the service kubernetes.default")
	flag.Parse()
	if err := run(*dir, net.ParseIP(*node), net.ParseIP(*service)); err != nil {
		fmt.Fprintln(os.Stderr, "pki:", err)
		os.Exit(1)
	}
}

func run(dir string, node, service net.IP) error {
	if dir == "" || node == nil || service == nil {
		return errors.New("usage: pki -dir FOLDER -node ADDRESS -service ADDRESS")
	}
	if good(dir, node, service) {
		return nil
	}
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	ca, caKey, err := authority(dir, "ca", "waybill-cluster")
	if err != nil {
		return err
	}
	front, frontKey, err := authority(dir, "front-ca", "waybill-cluster-front")
	if err != nil {
		return err
	}
	for i, p := range parts {
		by, key := ca, caKey
		if p.front { // never the other one: whoever it knows may say to be anybody
			by, key = front, frontKey
		}
		if err := issue(dir, int64(i+2), p, by, key, []net.IP{node, service, net.IPv4(127, 0, 0, 1)}); err != nil {
			return err
		}
		if !p.client {
			continue
		}
		if err := kubeconfig(dir, p, node); err != nil {
			return err
		}
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	der, err := x509.MarshalECPrivateKey(key) // not PKCS 8, in which the API server finds no public key
	if err != nil {
		return err
	}
	if err := writePEM(filepath.Join(dir, "accounts.key"), "EC PRIVATE KEY", der); err != nil { // signs the tokens of service accounts
		return err
	}
	// Last: only a whole folder is taken for good.
	return os.WriteFile(filepath.Join(dir, "complete"), nil, 0o600)
}

// good tells whether the folder is whole, for these addresses, and not about to expire.
func good(dir string, node, service net.IP) bool {
	if _, err := os.Stat(filepath.Join(dir, "complete")); err != nil {
		return false
	}
	content, err := os.ReadFile(filepath.Join(dir, "apiserver.crt"))
	if err != nil {
		return false
	}
	block, _ := pem.Decode(content)
	if block == nil {
		return false
	}
	c, err := x509.ParseCertificate(block.Bytes)
	return err == nil && time.Until(c.NotAfter) > spare && c.VerifyHostname(node.String()) == nil && c.VerifyHostname(service.String()) == nil
}

func authority(dir, file, name string) (*x509.Certificate, *ecdsa.PrivateKey, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	t := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(lasts), IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature}
	der, err := x509.CreateCertificate(rand.Reader, t, t, key.Public(), key)
	if err != nil {
		return nil, nil, err
	}
	ca, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, nil, err
	}
	return ca, key, writePEM(filepath.Join(dir, file+".crt"), "CERTIFICATE", der)
}

func issue(dir string, serial int64, p part, ca *x509.Certificate, caKey *ecdsa.PrivateKey, addresses []net.IP) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	t := &x509.Certificate{SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: p.name},
		NotBefore: ca.NotBefore, NotAfter: ca.NotAfter, KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
	if p.group != "" {
		t.Subject.Organization = []string{p.group}
	}
	if p.serves { // etcd also asks itself
		t.ExtKeyUsage = append(t.ExtKeyUsage, x509.ExtKeyUsageServerAuth)
		t.IPAddresses = addresses
		t.DNSNames = []string{"localhost", "waybill", "kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local"}
	}
	der, err := x509.CreateCertificate(rand.Reader, t, ca, key.Public(), caKey)
	if err != nil {
		return err
	}
	if err := writeKey(filepath.Join(dir, p.file+".key"), key); err != nil {
		return err
	}
	return writePEM(filepath.Join(dir, p.file+".crt"), "CERTIFICATE", der)
}

// kubeconfig carries its certificates within, so that it works wherever it is copied to.
func kubeconfig(dir string, p part, node net.IP) error {
	var content [3][]byte
	for i, name := range []string{"ca.crt", p.file + ".crt", p.file + ".key"} {
		var err error
		if content[i], err = os.ReadFile(filepath.Join(dir, name)); err != nil {
			return err
		}
	}
	c := api.NewConfig()
	c.Clusters["waybill"] = &api.Cluster{Server: "https://" + net.JoinHostPort(node.String(), "6443"), CertificateAuthorityData: content[0]}
	c.AuthInfos[p.file] = &api.AuthInfo{ClientCertificateData: content[1], ClientKeyData: content[2]}
	c.Contexts["waybill"] = &api.Context{Cluster: "waybill", AuthInfo: p.file}
	c.CurrentContext = "waybill"
	return clientcmd.WriteToFile(*c, filepath.Join(dir, p.file+".kubeconfig"))
}

func writeKey(path string, key *ecdsa.PrivateKey) error {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	return writePEM(path, "PRIVATE KEY", der)
}

func writePEM(path, kind string, der []byte) error {
	return os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600)
}
