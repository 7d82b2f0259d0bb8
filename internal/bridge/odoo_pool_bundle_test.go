//go:build odoo

package bridge

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// pool is one running container of the bridge.
type pool struct {
	b      *bundle
	name   string
	addr   string // host:port
	client *Client
}

func tenant(database string, hosts ...string) PoolTenant {
	return PoolTenant{Name: database, Database: database, Hosts: hosts, Modules: map[string]string{}}
}

// pool starts a container in a role with the addons of v1 or v2; it is gone after the test.
func (b *bundle) pool(t *testing.T, addons, role string, config PoolConfig, more ...string) *pool {
	t.Helper()
	return b.poolWith(t, addons, role, config, nil, more...)
}

// net is the network that the containers of this run share.
func (b *bundle) net(t *testing.T) string {
	t.Helper()
	b.network.Do(func() {
		if out, err := exec.Command("docker", "network", "create", b.prefix).CombinedOutput(); err != nil {
			b.netErr = fmt.Errorf("network: %w: %s", err, out)
		}
	})
	require.NoError(t, b.netErr)
	return b.prefix
}

// poolWith has further files in /etc/waybill.
func (b *bundle) poolWith(t *testing.T, addons, role string, config PoolConfig, files map[string][]byte, more ...string) *pool {
	t.Helper()
	name := b.name("pool")
	all := map[string][]byte{OdooConfFile: []byte(odooConf), KeyFile: testKey}
	maps.Copy(all, files)
	args, err := b.container(name, addons, role, all, "-d", "--network", b.net(t))
	require.NoError(t, err)
	p := &pool{b: b, name: name}
	p.configure(t, config)
	command, port := []string{"odoo"}, "8069"
	if role == "websocket" {
		command, port = []string{"odoo", "gevent"}, "8072"
	}
	command = append(command, "-c", ConfigDir+"/"+OdooConfFile)
	if role != "cron" {
		command = append(command, "--max-cron-threads=0")
	}
	out, err := exec.Command("docker", append(append(args, command...), more...)...).CombinedOutput()
	require.NoError(t, err, string(out))
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("log of %s:\n%s", name, tail(p.log()))
		}
		_ = exec.Command("docker", "rm", "-f", name).Run()
	})
	ip, err := exec.Command("docker", "inspect", "-f", "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}", name).Output()
	require.NoError(t, err)
	p.addr = net.JoinHostPort(strings.TrimSpace(string(ip)), port)
	p.client = NewClient("http://"+p.addr, testKey)
	t.Cleanup(p.client.Close)
	eventually(t, 3*time.Minute, "the pool accepts connections", func() bool {
		conn, err := net.DialTimeout("tcp", p.addr, time.Second)
		if err == nil {
			_ = conn.Close()
		}
		return err == nil
	})
	return p
}

func (p *pool) log() string {
	out, _ := exec.Command("docker", "logs", p.name).CombinedOutput()
	return string(out)
}

// configure replaces pool.json atomically, and waits until a running pool obeys it.
func (p *pool) configure(t *testing.T, config PoolConfig) {
	t.Helper()
	config.Protocol, config.Environment, config.Pool, config.Release = Protocol, "test", p.name, "sha256:this"
	content, err := json.Marshal(config)
	require.NoError(t, err)
	path := filepath.Join(p.b.dir, p.name+"-etc", PoolFile)
	require.NoError(t, os.WriteFile(path+".new", content, 0o644))
	require.NoError(t, os.Rename(path+".new", path))
	if p.client == nil {
		return
	}
	eventually(t, 5*time.Second, "the new pool.json is in force", func() bool {
		status, err := p.client.Status(t.Context())
		return err == nil && status.Generation == config.Generation
	})
}

func (p *pool) ready(t *testing.T, database string) Readiness {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	answer, err := p.client.Ready(ctx, database)
	require.NoError(t, err)
	return answer
}

func (p *pool) flows(t *testing.T, database string, names ...string) map[string]Flow {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	answer, err := p.client.Flows(ctx, FlowsRequest{Database: database, Flows: names})
	require.NoError(t, err)
	byName := map[string]Flow{}
	for _, flow := range answer {
		byName[flow.Name] = flow
	}
	return byName
}

// reply is what came back, read to its end.
type reply struct {
	status int
	body   string
	header http.Header
	cookie string // session_id that was set
}

// do sends a request as a browser behind the router would.
func (p *pool) do(t *testing.T, method, host, path, session string, body any, headers ...string) reply {
	t.Helper()
	var reader io.Reader
	switch b := body.(type) {
	case nil:
	case string:
		reader = strings.NewReader(b)
	default:
		raw, err := json.Marshal(body)
		require.NoError(t, err)
		reader = bytes.NewReader(raw)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, method, "http://"+p.addr+path, reader)
	require.NoError(t, err)
	request.Host = host
	if body != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	if session != "" {
		request.Header.Set("Cookie", "session_id="+session)
	}
	for i := 0; i < len(headers); i += 2 {
		request.Header.Set(headers[i], headers[i+1])
	}
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	response, err := client.Do(request)
	require.NoError(t, err)
	defer response.Body.Close()
	raw, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	answer := reply{status: response.StatusCode, body: string(raw), header: response.Header}
	for _, cookie := range response.Cookies() {
		if cookie.Name == "session_id" {
			answer.cookie = cookie.Value
		}
	}
	return answer
}

type rpc struct {
	JSONRPC string `json:"jsonrpc"`
	Method  string `json:"method"`
	Params  any    `json:"params"`
}

// rpc calls a JSON-RPC route; it returns result, or error as JSON text.
func (p *pool) rpc(t *testing.T, host, path, session string, params any) (json.RawMessage, string, reply) {
	t.Helper()
	answer := p.do(t, http.MethodPost, host, path, session, rpc{"2.0", "call", params})
	var decoded struct{ Result, Error json.RawMessage }
	if answer.status != http.StatusOK || json.Unmarshal([]byte(answer.body), &decoded) != nil {
		return nil, fmt.Sprintf("HTTP %d %s", answer.status, answer.body), answer
	}
	return decoded.Result, string(decoded.Error), answer
}

// login returns the session of the administrator.
func (p *pool) login(t *testing.T, host, database string) string {
	t.Helper()
	_, failed, answer := p.rpc(t, host, "/web/session/authenticate", "", map[string]any{"db": database, "login": "admin", "password": "admin"})
	require.Empty(t, failed)
	require.NotEmpty(t, answer.cookie)
	return answer.cookie
}

// call calls a model's method in a session.
func (p *pool) call(t *testing.T, host, session, model, method string, args []any, kwargs map[string]any) json.RawMessage {
	t.Helper()
	if kwargs == nil {
		kwargs = map[string]any{}
	}
	result, failed, _ := p.rpc(t, host, "/web/dataset/call_kw/"+model+"/"+method, session,
		map[string]any{"model": model, "method": method, "args": args, "kwargs": kwargs})
	require.Empty(t, failed)
	return result
}
