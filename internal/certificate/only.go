package certificate

import (
	"bytes"
	"crypto/tls"
	"errors"
	"net/http"
)

// only asks one host by TLS, and takes none but its own certificate from it.
type only struct {
	host      string
	own, rest http.RoundTripper
}

// Only is a way to a host (host:port) that shows one of the certificates that given returns, as DER, whoever has signed them and
// whatever names are in them: who asks knows them from elsewhere, and may reach the host by an address that no authority certifies. It is asked
// by TLS alone. All other hosts are reached by rest.
func Only(host string, given func() [][]byte, rest http.RoundTripper) http.RoundTripper {
	return &only{host: host, rest: rest, own: &http.Transport{
		ForceAttemptHTTP2: true,
		TLSClientConfig: &tls.Config{
			MinVersion: tls.VersionTLS12,
			//nolint:gosec // VerifyConnection asks for more than a chain: for this very certificate.
			InsecureSkipVerify: true,
			VerifyConnection: func(c tls.ConnectionState) error {
				for _, der := range given() {
					if bytes.Equal(c.PeerCertificates[0].Raw, der) {
						return nil
					}
				}
				return ErrOther
			},
		},
	}}
}

// ErrOther is why a host was not asked.
var ErrOther = errors.New("another certificate is shown than the server's own: something stands in between, or another server")

func (o *only) RoundTrip(request *http.Request) (*http.Response, error) {
	if request.URL.Host != o.host {
		return o.rest.RoundTrip(request)
	}
	if request.URL.Scheme != "https" { // registry clients take an address of this machine for one without TLS
		request = request.Clone(request.Context())
		request.URL.Scheme = "https"
	}
	return o.own.RoundTrip(request)
}
