package server

import (
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/internal/long"
	"github.com/waybill-dev/waybill/internal/store/storetest"
)

func TestMetrics(t *testing.T) {
	long.Test(t)
	free, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	address := free.Addr().String()
	require.NoError(t, free.Close())
	r := start(t, Config{Data: folder(t), Estate: declared(t), Listen: "127.0.0.1:0", Metrics: address, DatabaseURL: storetest.Database(t, cluster(t)), Version: "v1"})

	code, _ := r.ask("GET", "/metrics", "", nil)
	require.Equal(t, http.StatusUnauthorized, code, "the API's address gives metrics to who shows a token")
	code, content := r.ask("GET", "/metrics", r.token(), nil)
	require.Equal(t, http.StatusOK, code, content)

	answer, err := http.Get("http://" + address + "/metrics")
	require.NoError(t, err)
	defer func() { _ = answer.Body.Close() }()
	open, err := io.ReadAll(answer.Body)
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, answer.StatusCode)
	for _, line := range []string{`waybill_build_info{goversion="go`, "waybill_store_up 1", "waybill_rollouts_due 0", `waybill_leases{state="held"} 0`, "go_goroutines ",
		`waybill_api_requests_total{code="401",operation="none"} 1`, `waybill_api_requests_total{code="200",operation="getMetrics"} 1`} {
		require.Contains(t, string(open), line)
	}
	problems, err := promlint.New(strings.NewReader(string(open))).Lint()
	require.NoError(t, err)
	require.Empty(t, problems)

	other, err := http.Get("http://" + address + "/api/v1/status")
	require.NoError(t, err)
	defer func() { _ = other.Body.Close() }()
	require.Equal(t, http.StatusNotFound, other.StatusCode, "that address gives metrics and nothing else")
}

func TestTracesThatCannotBeSentAreRefusedAtOnce(t *testing.T) {
	long.Test(t)
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4317")
	t.Setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
	err := Run(t.Context(), Config{Data: folder(t), Estate: declared(t), Listen: "127.0.0.1:0", DatabaseURL: storetest.Database(t, cluster(t))})
	require.ErrorContains(t, err, "OTEL_EXPORTER_OTLP_PROTOCOL is grpc")
}
