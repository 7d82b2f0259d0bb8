package router

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"
)

// Where another machine's server gives orders, there is no socket to open or shut: both ends hold one
// certificate and its key, and take nobody else's.

// The files of an admin pair in its folder, named as Kubernetes names those of a TLS secret.
const (
	PairCertificate = "tls.crt"
	PairKey         = "tls.key"
)

const pairName = "router"

// NewPair makes the certificate and the key, in PEM, that a router and its server know each other by.
func NewPair() (certificate, key []byte, err error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, nil, err
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber: serial, DNSNames: []string{pairName},
		NotBefore: now.Add(-time.Hour), NotAfter: now.AddDate(20, 0, 0), // it is pinned: its end means nothing
		KeyUsage:    x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		IsCA:        true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		return nil, nil, err
	}
	encoded, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return nil, nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: encoded}), nil
}

// pairConfig is for either end: each shows the pair's certificate and takes no other.
func pairConfig(certificate, key []byte) (*tls.Config, error) {
	own, err := tls.X509KeyPair(certificate, key)
	if err != nil {
		return nil, fmt.Errorf("the certificate and key between router and server: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(certificate) {
		return nil, errors.New("the certificate between router and server holds none")
	}
	return &tls.Config{
		MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{own},
		RootCAs: pool, ServerName: pairName,
		ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert,
	}, nil
}

// listenRemote listens for a server on another machine that holds the pair in the folder.
func listenRemote(at, folder string) (net.Listener, error) {
	certificate, err := os.ReadFile(filepath.Join(folder, PairCertificate))
	if err != nil {
		return nil, fmt.Errorf("router: orders over the network need a certificate and key: %w", err)
	}
	key, err := os.ReadFile(filepath.Join(folder, PairKey))
	if err != nil {
		return nil, fmt.Errorf("router: orders over the network need a certificate and key: %w", err)
	}
	config, err := pairConfig(certificate, key)
	if err != nil {
		return nil, fmt.Errorf("router: %w", err)
	}
	l, err := listen(at)
	if err != nil {
		return nil, err
	}
	return tls.NewListener(l, config), nil
}

// DialRemote returns the Control of a router that listens at host:port for whoever holds the pair. Like
// Dial it connects for each call anew.
func DialRemote(at string, certificate, key []byte) (Control, error) {
	config, err := pairConfig(certificate, key)
	if err != nil {
		return nil, err
	}
	return &client{socket: at, base: "https://" + pairName, http: &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true, TLSClientConfig: config,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			d := net.Dialer{Timeout: 2 * time.Second}
			return d.DialContext(ctx, "tcp", at)
		},
	}}}, nil
}

// follow puts the table of a file in force whenever a newer one stands there, until ctx is done. A
// router that is new on its machine begins with it, and one that missed an order comes to it.
func (s *server) follow(ctx context.Context, file string) {
	var seen []byte
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		if content, err := os.ReadFile(file); err == nil && !bytes.Equal(content, seen) {
			seen = content
			s.takeTable(ctx, file, content)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

func (s *server) takeTable(ctx context.Context, file string, content []byte) {
	if len(content) == 0 {
		return
	}
	table, err := parseTable(content)
	if err == nil {
		err = s.control.Apply(ctx, *table)
	}
	if stale := new(StaleError); err != nil && !errors.As(err, &stale) { // a stale one was overtaken by an order
		s.config.Log.Error("the routing table in a file is not used", "file", file, "error", err)
	}
}
