package server

import (
	"fmt"
	"net/url"
	"time"

	"github.com/waybill-dev/waybill/internal/api"
	"github.com/waybill-dev/waybill/internal/openid"
)

// publicURL reads where people reach this server; nil where that is not known.
func publicURL(text string) (*url.URL, error) {
	if text == "" {
		return nil, nil
	}
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.Path != "" && u.Path != "/" || u.RawQuery != "" || u.User != nil {
		return nil, fmt.Errorf("--public-url %q: expected a scheme and a host, like https://waybill.example.com", text)
	}
	u.Path = ""
	return u, nil
}

// openID is the provider that people log in at; nil where there is none. It is asked for nothing before somebody logs in.
func (s *server) openID(public *url.URL) *openid.Provider {
	settings := s.config.OpenID
	if settings.Issuer == "" || public == nil {
		return nil
	}
	settings.Redirect = public.String() + api.CallbackPath
	return &openid.Provider{Settings: settings, Key: s.keys.Derive("openid", "login"), Now: time.Now}
}
