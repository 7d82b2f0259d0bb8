package server

import (
	"encoding/json"
	"iter"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/internal/api"
	"github.com/waybill-dev/waybill/internal/attest"
	"github.com/waybill-dev/waybill/internal/keys"
	"github.com/waybill-dev/waybill/internal/ledger"
	"github.com/waybill-dev/waybill/internal/long"
	"github.com/waybill-dev/waybill/internal/store/storetest"
)

// A server writes down that it started and whom it turned away, signs it, and goes on after a restart.
func TestLedger(t *testing.T) {
	long.Test(t)
	config := Config{Data: folder(t), Estate: declared(t), Listen: "127.0.0.1:0", Version: "test", DatabaseURL: storetest.Database(t, cluster(t))}
	r := start(t, config)
	code, _ := r.ask("GET", "/api/v1/status", "wrong", nil)
	require.Equal(t, http.StatusUnauthorized, code)
	own, err := keys.SigningKeys(filepath.Join(config.Data, "keys"))
	require.NoError(t, err)
	verify := func() ledger.Report {
		code, text := r.ask("GET", "/api/v1/ledger/export", r.token(), nil)
		require.Equal(t, http.StatusOK, code)
		kept, err := ledger.ReadHeads(filepath.Join(config.Data, HeadFile))
		require.NoError(t, err)
		report, err := ledger.Verification{Keys: attest.OwnKeys(own), Anchors: kept, Now: time.Now(),
			Lines: func() iter.Seq2[ledger.Line, error] { return ledger.Read(strings.NewReader(text)) }}.Verify()
		require.NoError(t, err)
		require.True(t, report.OK, "%v", report.Problem)
		return report
	}
	heads := func() ledger.Head {
		code, text := r.ask("GET", "/api/v1/ledger/heads", r.token(), nil)
		require.Equal(t, http.StatusOK, code, text)
		var list []ledger.Head
		require.NoError(t, json.Unmarshal([]byte(text), &list))
		return list[0]
	}
	require.Equal(t, int64(2), heads().Sequence)
	require.Equal(t, int64(2), verify().Covered)
	code, text := r.ask("GET", "/api/v1/ledger", r.token(), nil)
	require.Equal(t, http.StatusOK, code)
	var list []api.LedgerEntry
	require.NoError(t, json.Unmarshal([]byte(text), &list))
	require.Equal(t, "token.refused", list[0].Kind)
	require.Equal(t, ledger.ServerStarted, list[1].Kind)
	require.NotContains(t, text, "wrong\"", "the token itself is not recorded")
	code, text = r.ask("GET", "/api/v1/promotions/none/waybill", r.token(), nil)
	require.Equal(t, http.StatusNotFound, code, text)

	code, text = r.ask("GET", "/api/v1/doctor", r.token(), nil)
	require.Equal(t, http.StatusOK, code)
	require.Contains(t, text, "2 entries verified, signed up to entry 2")

	require.NoError(t, r.stop())
	r = start(t, config)
	require.Equal(t, int64(3), heads().Sequence, "the start is an entry of its own")
	require.Equal(t, int64(3), verify().Covered)
}
