package cli

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/internal/api"
)

func TestRingsAreDrawn(t *testing.T) {
	until := time.Date(2026, 11, 22, 10, 20, 0, 0, time.UTC)
	var out strings.Builder
	showRings(&out, []api.Ring{
		{Name: "canary", State: "soaks", Why: "ring canary soaks until 2026-11-22 10:20:00 UTC", Until: &until, Total: 2, Promoted: 2},
		{Name: "eu", State: "goes", Total: 6, Promoted: 2, UnderWay: 1, Failed: 1},
		{Name: "many", State: "goes", Total: 9000, Promoted: 4500, UnderWay: 3, Failed: 1},
	})
	require.Equal(t, `RING    TENANTS                         HAVE IT  UNDER WAY  WENT BACK  WAIT  
canary  ■■                              2        0          0          0     ring canary soaks until 2026-11-22 10:20:00 UTC
eu      ■■×▸··                          2        1          1          2     goes
many    ■■■■■■■■■■■■■■■×▸·············  4500     3          1          4496  goes
`, out.String())
	out.Reset()
	showRings(&out, nil)
	require.Empty(t, out.String())
}
