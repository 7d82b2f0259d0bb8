package server

import (
	"crypto/tls"
	"encoding/json"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/waybill-dev/waybill/internal/api"
	"github.com/waybill-dev/waybill/internal/certificate"
)

// near is how this machine reaches a listener. One on all addresses is reached by that of this machine alone, where a Docker Engine pulls
// from a registry whatever its certificate, or without one.
func near(listens net.Addr) string {
	host, port, err := net.SplitHostPort(listens.String())
	if ip := net.ParseIP(host); err == nil && ip != nil && ip.IsUnspecified() {
		return net.JoinHostPort("127.0.0.1", port)
	}
	return listens.String()
}

func (s *server) url() string {
	if s.shown != nil {
		return "https://" + s.address
	}
	return "http://" + s.address
}

func (s *server) listen(server *http.Server, listener net.Listener) error {
	if s.shown == nil {
		return server.Serve(listener)
	}
	server.TLSConfig = s.shown.Server()
	return server.ServeTLS(listener, "", "")
}

// showCertificate reads what the listener is to show, before there is one.
func (s *server) showCertificate() (err error) {
	if s.config.TLSCert == "" {
		return nil
	}
	if s.shown, err = certificate.Load(s.config.TLSCert, s.config.TLSKey, s.log, s.renewed); err == nil {
		s.newest = s.shown.Current()
	}
	return err
}

// wayToItself is how the server asks its own port, whatever names are in its certificate; nil without TLS.
func (s *server) wayToItself() http.RoundTripper {
	if s.shown == nil {
		return nil
	}
	return certificate.Only(s.address, func() [][]byte { return [][]byte{s.shown.Current().Certificate[0]} }, remote.DefaultTransport)
}

// announce tells whoever may read the data folder where the server is and which certificate it shows.
func (s *server) announce() error {
	s.announcing.Lock()
	defer s.announcing.Unlock()
	s.announced = true
	return s.writeAddress()
}

// renewed tells it before anybody is shown the new certificate, so that nobody takes that for another server's.
func (s *server) renewed(pair *tls.Certificate) {
	s.announcing.Lock()
	defer s.announcing.Unlock()
	s.newest = pair
	if !s.announced {
		return
	}
	if err := s.writeAddress(); err != nil {
		s.log.Error("tell this machine's clients of the renewed certificate", "error", err)
	}
}

func (s *server) writeAddress() error {
	a := Address{URL: s.url(), PID: os.Getpid()}
	if s.newest != nil {
		a.Certificate = s.newest.Certificate[0]
	}
	content, err := json.Marshal(a)
	if err != nil {
		return err
	}
	path := filepath.Join(s.config.Data, AddressFile)
	if err := os.WriteFile(path+".new", content, 0o644); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

func (s *server) withdraw() {
	s.announcing.Lock()
	defer s.announcing.Unlock()
	s.announced = false
	_ = os.Remove(filepath.Join(s.config.Data, AddressFile))
}

// ownCertificate is what waybill doctor says about it.
func (s *server) ownCertificate() api.Finding {
	f := api.Finding{Name: "TLS certificate"}
	pair, now := s.shown.Current(), time.Now()
	until := pair.Leaf.NotAfter
	f.Detail = "holds until " + until.UTC().Format(time.RFC3339)
	if err := certificate.Problem(pair, now); err != nil {
		f.Detail = err.Error()
	} else if f.OK = until.Sub(now) > soon; !f.OK {
		f.Detail += ", which is soon"
	}
	if !f.OK {
		f.Fix = "renew " + s.config.TLSCert + " and its key; they are read again by themselves"
	}
	return f
}

// soon is how long before its end a certificate should have been renewed.
const soon = 7 * 24 * time.Hour
