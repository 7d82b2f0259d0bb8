package cli

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"

	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/waybill-dev/waybill/internal/certificate"
)

// caVariable names the file of further authorities where no --ca is given.
const caVariable = "WAYBILL_CA"

// way is how the server is reached, API and registry alike. The one that runs on the data folder says there which certificate it shows; that
// one and no other counts, whatever its names. Any other server's must be certified by an authority of this machine, or of --ca.
func (a *app) way() (http.RoundTripper, error) {
	if a.reach != nil {
		return a.reach, nil
	}
	plain, ok := remote.DefaultTransport.(*http.Transport) // for layers need longer than an API's answers
	if !ok {
		return nil, errors.New("the way to the server cannot be set up")
	}
	way := plain.Clone()
	file := a.caFile
	if file == "" {
		file = os.Getenv(caVariable)
	}
	if file != "" {
		roots, err := rootsWith(file)
		if err != nil {
			return nil, err
		}
		way.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots}
	}
	a.reach = way
	if a.server != "" {
		return a.reach, nil
	}
	found, err := a.found()
	if host, ours := strings.CutPrefix(found.URL, "https://"); err == nil && ours && len(found.Certificate) > 0 {
		a.reach = certificate.Only(host, func() [][]byte {
			now, _ := a.found() // it may have been renewed since
			return [][]byte{found.Certificate, now.Certificate}
		}, way)
	}
	return a.reach, nil
}

func rootsWith(file string) (*x509.CertPool, error) {
	content, err := os.ReadFile(file)
	if err != nil {
		return nil, usagef("read the authorities that count: %w", err)
	}
	roots, err := x509.SystemCertPool()
	if err != nil {
		roots = x509.NewCertPool()
	}
	if !roots.AppendCertsFromPEM(content) {
		return nil, usagef("%s holds no certificate of an authority: a PEM file expected (-----BEGIN CERTIFICATE-----)", file)
	}
	return roots, nil
}

// untrusted explains a certificate that does not count; nil where it is something else. Nobody waits for that to become better.
func untrusted(server string, err error) error {
	var failed *tls.CertificateVerificationError
	var unsigned x509.UnknownAuthorityError
	switch {
	case errors.As(err, &unsigned):
		return fmt.Errorf("the certificate of the server at %s does not count: %w. If an authority of your own has signed it, name its file: --ca FILE, or %s", server, unsigned, caVariable)
	case errors.As(err, &failed):
		return fmt.Errorf("the certificate of the server at %s does not count: %w", server, failed.Err)
	case errors.Is(err, certificate.ErrOther):
		return fmt.Errorf("not asked: at %s %w", server, certificate.ErrOther)
	}
	return nil
}
