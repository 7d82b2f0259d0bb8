package cli

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/internal/api"
	"github.com/waybill-dev/waybill/internal/attest"
	"github.com/waybill-dev/waybill/internal/bridge"
	"github.com/waybill-dev/waybill/internal/build"
	"github.com/waybill-dev/waybill/internal/keys"
	"github.com/waybill-dev/waybill/internal/long"
	"github.com/waybill-dev/waybill/internal/odoo"
	"github.com/waybill-dev/waybill/internal/release"
	"github.com/waybill-dev/waybill/internal/server"
)

const asksPeople = `kind: Product
name: acme
series: "19.0"
environments: [production]
---
kind: Environment
name: production
runtime: {docker: {http: "127.0.0.1:8069"}}
approvals: {}
---
kind: Tenant
name: acme
environment: production
hosts: [acme.localhost]
---
kind: Access
users:
  - name: anna
    roles: [{role: operator}, {role: approver}]
  - name: bert
    emails: [bert@example.com]
    roles: [{role: approver, environments: [production]}]
  - name: vera
    roles: [{role: viewer}]
`

// serving is a real server with its own PostgreSQL servers and registry; only there is no container engine, so
// that a promotion ends where it would start its first pool.
func serving(t *testing.T, declared string) (data string) {
	t.Helper()
	t.Setenv("DOCKER_HOST", "unix:///nowhere/docker.sock")
	dir, err := os.MkdirTemp("", "wbcli") // one that PostgreSQL's unprivileged user can pass
	require.NoError(t, err)
	require.NoError(t, os.Chmod(dir, 0o755))
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	folder := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(folder, "estate.yaml"), []byte(declared), 0o600))
	data = filepath.Join(dir, "data")
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	ready, ended := make(chan string, 1), make(chan error, 1)
	quiet := slog.New(slog.DiscardHandler)
	go func() {
		ended <- server.Run(ctx, server.Config{Data: data, Estate: folder, Listen: "127.0.0.1:0", Log: quiet, Ready: func(url string) { ready <- url }})
	}()
	t.Cleanup(func() {
		cancel()
		require.NoError(t, <-ended)
		require.NoError(t, server.Down(context.Background(), data, nil, quiet))
	})
	select {
	case <-ready:
	case err := <-ended:
		ended <- nil
		require.NoError(t, err, "the server did not come up")
	}
	return data
}

// ship puts a signed release into the server's registry and makes it known, and a database for it.
func ship(t *testing.T, data string) {
	t.Helper()
	a := &app{data: data}
	address, token, err := a.address()
	require.NoError(t, err)
	host := strings.TrimPrefix(address, "http://")
	r := release.Release{Repository: "acme", Name: "r1", Series: "19.0", Source: "https://git.example.com/acme", Commit: strings.Repeat("a", 40),
		BridgeProtocol: bridge.Protocol, Modules: []release.Module{{Name: "acme_lane", Version: "19.0.1.0", Checksum: "c2"}}, Base: release.Base{Modules: []release.Module{{Name: "base", Version: "19.0.1.3", Checksum: "c1"}}}}
	described, err := json.Marshal(r)
	require.NoError(t, err)
	img, err := random.Image(1024, 1)
	require.NoError(t, err)
	img = mutate.ConfigMediaType(mutate.MediaType(img, types.OCIManifestSchema1), types.OCIConfigJSON)
	img = mutate.Annotations(img, map[string]string{release.Annotation: string(described)}).(v1.Image)
	ref, err := name.ParseReference(host+"/acme:r1", name.Insecure)
	require.NoError(t, err)
	require.NoError(t, remote.Write(ref, img, remote.WithAuth(&authn.Basic{Username: "waybill", Password: token})))
	digest, err := img.Digest()
	require.NoError(t, err)
	r.Digest = digest.String()
	where, auth, err := build.Registry{Host: host, Plain: true, User: "waybill", Password: token}.Locate("acme@" + r.Digest)
	require.NoError(t, err)
	image, err := attest.Open(t.Context(), where, auth, nil)
	require.NoError(t, err)
	signer, err := keys.OpenSigner(t.Context(), filepath.Join(data, "keys", keys.SigningFile))
	require.NoError(t, err)
	_, err = image.Attest(t.Context(), attest.Build{Release: r, Addons: []string{"addons"}, Version: "test", Started: time.Now()}.Claim(), signer)
	require.NoError(t, err)
	require.NoError(t, a.call(t.Context(), "POST", "/api/v1/releases", map[string]any{"ref": "acme@" + r.Digest, "authors": []string{"carl@example.com"}}, nil))

	own, err := keys.Open(filepath.Join(data, "keys"))
	require.NoError(t, err)
	at := func(database string) *pgx.Conn {
		u := url.URL{Scheme: "postgres", User: url.UserPassword("waybill", own.Password("waybill", "postgres-tenants")), Path: "/" + database,
			RawQuery: url.Values{"host": {filepath.Join(data, "run", "tenants")}, "port": {"5432"}}.Encode()}
		db, err := pgx.Connect(t.Context(), u.String())
		require.NoError(t, err)
		t.Cleanup(func() { _ = db.Close(context.Background()) })
		return db
	}
	admin := at("postgres")
	_, err = admin.Exec(t.Context(), "create database acme_production")
	require.NoError(t, err)
	tenant := at("acme_production")
	_, err = tenant.Exec(t.Context(), `create table ir_module_module (name text, latest_version text, state text); create table res_lang (code text, active bool);
		create table ir_config_parameter (key text, value text); insert into ir_module_module values ('base', '19.0.1.3', 'installed')`)
	require.NoError(t, err)
	_, err = tenant.Exec(t.Context(), "insert into ir_config_parameter values ($1, $2)", odoo.ChecksumsParameter, `{"base": "c1"}`)
	require.NoError(t, err)
	require.NoError(t, tenant.Close(t.Context()))
	require.NoError(t, admin.Close(t.Context()))
}

// people gives each of an estate's users a token, and returns what runs a verb as one of them, or, without a name, as whoever
// has the data folder.
func people(t *testing.T, data string, users ...string) func(who string, args ...string) (out, problem string, code int) {
	t.Helper()
	tokens := map[string]string{}
	as := func(who string, args ...string) (string, string, int) {
		t.Helper()
		args = append(args, "--data", data)
		if who != "" {
			args = append(args, "--token-file", tokens[who])
		}
		return said(t, args...)
	}
	for _, who := range users {
		tokens[who] = filepath.Join(t.TempDir(), who)
		out, problem, code := as("", "token", "create", who, "--out", tokens[who])
		require.Equal(t, exitDone, code, problem)
		require.NotContains(t, out+problem, "wbt_")
	}
	return as
}

// Production asks for one approval: what is promoted waits, and says for whom; who asked cannot agree, and who comes with
// no token or one that was revoked is turned away; somebody else agrees, and it goes on.
func TestSomebodyElseApproves(t *testing.T) {
	long.Test(t)
	data := serving(t, asksPeople)
	ship(t, data)
	as := people(t, data, "anna", "bert", "vera")
	out, _, code := as("anna", "whoami")
	require.Equal(t, exitDone, code)
	require.Contains(t, out, "operator everywhere; approver everywhere")

	_, problem, code := as("vera", "promote", "r1", "production")
	require.Equal(t, exitFailed, code)
	require.Contains(t, problem, "vera may not ask for a promotion: that takes the role author, operator or admin")
	out, problem, code = as("anna", "promote", "r1", "production")
	require.Equal(t, exitWaiting, code, out+problem)
	require.Contains(t, out, "production waits: 1 approval of approver or admin")
	words := strings.Fields(out)
	id := words[len(words)-1]

	_, problem, code = as("anna", "approve", id)
	require.Equal(t, exitFailed, code)
	require.Contains(t, problem, "anna may not approve a promotion that is their own")
	_, problem, code = as("", "approve", id)
	require.Equal(t, exitFailed, code)
	require.Contains(t, problem, "may not approve a promotion that is their own", "the owner has made the release known")
	_, _, code = as("vera", "reject", id, "--reason", "no")
	require.Equal(t, exitFailed, code)
	_, _, code = as("bert", "reject", id)
	require.Equal(t, exitUsage, code, "to reject takes a reason")

	out, problem, code = as("bert", "approve", id, "--reason", "seen in uat")
	require.Equal(t, exitDone, code, problem)
	require.Contains(t, out, "asked by anna")
	require.Contains(t, out, "acme: class swap")
	require.Contains(t, out, "nobody else is needed")
	require.Eventually(t, func() bool {
		out, _, _ = as("vera", "promotion", "show", id, "-o", "json")
		var p api.Promotion
		return json.Unmarshal([]byte(out), &p) == nil && slices.ContainsFunc(p.Rollouts[0].Steps, func(s api.Step) bool { return s.Name == "start pool" })
	}, time.Minute, 50*time.Millisecond, "it goes on at once: %s", out)
	out, _, _ = as("vera", "promotion", "show", id)
	require.Contains(t, out, "approvals: 0 of 0")
	require.Contains(t, out, "by bert")
	require.Contains(t, out, "seen in uat")

	list, _, _ := as("", "token", "list", "--user", "bert", "-o", "json")
	var found []api.Token
	require.NoError(t, json.Unmarshal([]byte(list), &found))
	_, _, code = as("", "token", "revoke", found[0].ID)
	require.Equal(t, exitDone, code)
	_, problem, code = as("bert", "whoami")
	require.Equal(t, exitFailed, code)
	require.Contains(t, problem, "was revoked")
	require.Eventually(t, func() bool { // the ledger is chained a moment after
		out, _, code = as("", "ledger", "list")
		for _, kind := range []string{"access.denied", "approval.given", "token.created", "token.revoked", "token.refused"} {
			if code != exitDone || !strings.Contains(out, kind) {
				return false
			}
		}
		return true
	}, time.Minute, 100*time.Millisecond, "what is decided about people is recorded: %s", out)
}
