package postgres

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Remote opens one address of this machine beside the socket, for one login: over TLS only, with its password, and for nobody else,
// the superuser least of all.
type Remote struct {
	Address netip.Addr // of this machine; Options.Port is the port there too
	User    string
}

// check refuses what would open more than was meant.
func (r Remote) check() error {
	switch {
	case !r.Address.IsValid() || r.Address.IsUnspecified() || r.Address.Zone() != "":
		return fmt.Errorf("address %s to listen on: expected one address of this machine, not all of them", r.Address)
	case r.User == "" || strings.ContainsAny(r.User, "\"\n\r/@+,") || r.User == "all":
		return fmt.Errorf("login %q that may come from elsewhere: expected the name of one", r.User)
	}
	return nil
}

// rules are pg_hba.conf: whatever else initdb has let in is gone.
func (r Remote) rules() string {
	return "# Written by Waybill at each start.\nlocal all all scram-sha-256\nhostssl all \"" + r.User + "\" all scram-sha-256\n"
}

// admitRemote makes a certificate where there is none, and writes who may come. Nobody is asked to trust the certificate: with SCRAM over
// TLS the two sides prove to each other that they know the password, and that nobody sits between them.
func (c *Cluster) admitRemote() (changed bool, err error) {
	if c.opts.Remote == nil {
		return false, nil
	}
	certificate, key := filepath.Join(c.dataDir(), "server.crt"), filepath.Join(c.dataDir(), "server.key")
	if _, err := os.Lstat(certificate); errors.Is(err, fs.ErrNotExist) {
		pair, err := selfSigned(c.opts.Remote.Address)
		if err != nil {
			return false, err
		}
		if err := errors.Join(c.replaceFile(key, pair[1]), c.replaceFile(certificate, pair[0])); err != nil {
			return false, err
		}
	} else if err != nil {
		return false, err
	}
	path := filepath.Join(c.dataDir(), "pg_hba.conf")
	before, err := os.ReadFile(path)
	if err != nil {
		return false, err
	}
	if string(before) == c.opts.Remote.rules() {
		return false, nil
	}
	return true, c.replaceFile(path, c.opts.Remote.rules())
}

// selfSigned is a certificate and its key, as PEM.
func selfSigned(address netip.Addr) (pair [2]string, err error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return pair, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return pair, err
	}
	now := time.Now()
	template := &x509.Certificate{SerialNumber: serial, Subject: pkix.Name{CommonName: address.String()}, IPAddresses: []net.IP{address.AsSlice()},
		NotBefore: now.Add(-time.Hour), NotAfter: now.AddDate(1, 0, 0), KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return pair, err
	}
	raw, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return pair, err
	}
	pair[0] = string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	pair[1] = string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: raw}))
	return pair, nil
}
