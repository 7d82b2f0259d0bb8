//go:build openid

// Package openidtest runs an OpenID provider that others have written, as a process of its own, for tests.
package openidtest

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// How this installation is known to the provider, and its people's password.
const (
	ClientID = "web"
	Secret   = "secret"
	Password = "verysecure"
)

// Provider is one that runs.
type Provider struct {
	Issuer string

	t       *testing.T
	env     []string
	process *exec.Cmd
}

// Person is somebody whom the provider knows.
type Person struct {
	ID, Username, Password, Email string
	EmailVerified                 bool
	PreferredLanguage             string
}

// Start runs a provider that sends people back to a URL.
func Start(t *testing.T, redirect string, people ...Person) *Provider {
	t.Helper()
	if os.Getenv("WAYBILL_TEST_OPENID") == "" {
		t.Fatal("WAYBILL_TEST_OPENID names no provider; run: make test-openid")
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	_, port, _ := net.SplitHostPort(listener.Addr().String())
	require.NoError(t, listener.Close())
	users := map[string]Person{}
	for i, p := range people {
		p.ID, p.Password, p.PreferredLanguage = fmt.Sprintf("id%d", i), Password, "en"
		users[p.ID] = p
	}
	content, err := json.Marshal(users)
	require.NoError(t, err)
	file := filepath.Join(t.TempDir(), "users.json")
	require.NoError(t, os.WriteFile(file, content, 0o600))
	p := &Provider{t: t, Issuer: "http://localhost:" + port + "/", env: append(os.Environ(), "PORT="+port, "USERS_FILE="+file, "REDIRECT_URI="+redirect)}
	p.Run()
	t.Cleanup(p.Stop)
	return p
}

// Run starts it again after Stop.
func (p *Provider) Run() {
	p.t.Helper()
	p.process = exec.Command(os.Getenv("WAYBILL_TEST_OPENID"))
	p.process.Env = p.env
	require.NoError(p.t, p.process.Start())
	require.Eventually(p.t, func() bool {
		answer, err := http.Get(p.Issuer + ".well-known/openid-configuration")
		if err != nil {
			return false
		}
		_ = answer.Body.Close()
		return answer.StatusCode == http.StatusOK
	}, time.Minute, 50*time.Millisecond, "the provider answers")
}

// Stop kills it.
func (p *Provider) Stop() {
	if p.process != nil {
		_ = p.process.Process.Kill()
		_ = p.process.Wait()
		p.process = nil
	}
}

var hidden = regexp.MustCompile(`name="id" value="([^"]+)"`)

// LogIn does what somebody does at the provider who was sent to an address, and returns where the provider sends them back to.
func (p *Provider) LogIn(address, username, password string) (back *url.URL, page string) {
	p.t.Helper()
	jar, err := cookiejar.New(nil)
	require.NoError(p.t, err)
	client := &http.Client{Jar: jar, CheckRedirect: func(r *http.Request, _ []*http.Request) error {
		if !strings.HasPrefix(r.URL.String(), p.Issuer) {
			return http.ErrUseLastResponse
		}
		return nil
	}}
	form := p.read(client.Get(address))
	found := hidden.FindStringSubmatch(form)
	require.NotNil(p.t, found, form)
	answer, err := client.PostForm(p.Issuer+"login/username", url.Values{"id": {found[1]}, "username": {username}, "password": {password}})
	require.NoError(p.t, err)
	if to := answer.Header.Get("Location"); to != "" {
		_ = answer.Body.Close()
		back, err = url.Parse(to)
		require.NoError(p.t, err)
		return back, ""
	}
	return nil, p.read(answer, nil)
}

func (p *Provider) read(answer *http.Response, err error) string {
	p.t.Helper()
	require.NoError(p.t, err)
	defer func() { _ = answer.Body.Close() }()
	text, err := io.ReadAll(answer.Body)
	require.NoError(p.t, err)
	return string(text)
}
