package postgres

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/internal/long"
)

// One login comes from elsewhere, over TLS and with its password; nobody else does, and nothing else is listened on.
func TestRemote(t *testing.T) {
	long.Test(t)
	o := options(folder(t))
	o.Port = freePort(t)
	o.Remote = &Remote{Address: netip.MustParseAddr("127.0.0.1"), User: "visitor"}
	c := started(t, o)
	require.Equal(t, "127.0.0.1", query(t, c, "SHOW listen_addresses"))
	super, err := pgx.Connect(t.Context(), c.URL("postgres"))
	require.NoError(t, err)
	defer super.Close(t.Context())
	_, err = super.Exec(t.Context(), "CREATE ROLE visitor LOGIN PASSWORD 'right'; CREATE ROLE other LOGIN PASSWORD 'right'")
	require.NoError(t, err)

	from := func(user, password, sslmode string) (*pgx.Conn, error) {
		u := url.URL{Scheme: "postgres", User: url.UserPassword(user, password), Host: fmt.Sprintf("127.0.0.1:%d", o.Port), Path: "/postgres", RawQuery: "sslmode=" + sslmode}
		return pgx.Connect(t.Context(), u.String())
	}
	conn, err := from("visitor", "right", "require")
	require.NoError(t, err)
	defer conn.Close(t.Context())
	var encrypted bool
	require.NoError(t, conn.QueryRow(t.Context(), "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()").Scan(&encrypted))
	require.True(t, encrypted)
	for who, try := range map[string][3]string{
		"without TLS":        {"visitor", "right", "disable"},
		"without a password": {"visitor", "wrong", "require"},
		"another login":      {"other", "right", "require"},
		"the superuser":      {"waybill", o.Password, "require"},
	} {
		_, err := from(try[0], try[1], try[2])
		require.Contains(t, []string{"28000", "28P01"}, sqlState(err), "%s: %v", who, err)
	}

	certificate := filepath.Join(o.Dir, "data", "server.crt")
	before, err := os.ReadFile(certificate)
	require.NoError(t, err)
	pid := postmaster(t, c)
	again := started(t, o)
	require.Equal(t, pid, postmaster(t, again), "adopted")
	after, err := os.ReadFile(certificate)
	require.NoError(t, err)
	require.Equal(t, before, after)
}

func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

func TestRemoteIsNarrow(t *testing.T) {
	good := Remote{Address: netip.MustParseAddr("192.0.2.1"), User: "visitor"}
	require.NoError(t, good.check())
	for why, r := range map[string]Remote{
		"no address":     {User: "visitor"},
		"all addresses":  {Address: netip.IPv4Unspecified(), User: "visitor"},
		"a zone":         {Address: netip.MustParseAddr("fe80::1%eth0"), User: "visitor"},
		"everybody":      {Address: good.Address, User: "all"},
		"a second rule":  {Address: good.Address, User: "a\" all\nhost all \"b"},
		"a group":        {Address: good.Address, User: "+b"},
		"nobody":         {Address: good.Address},
		"several logins": {Address: good.Address, User: "a,b"},
	} {
		require.Error(t, r.check(), why)
	}
	o := options(t.TempDir())
	o.Remote = &Remote{Address: good.Address, User: "waybill"}
	require.ErrorContains(t, o.fill(), "is the superuser")
}
