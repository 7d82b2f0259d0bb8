package estate

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Each reserved option is refused with its own reason, also in the spelling of the command line.
func TestReservedSettings(t *testing.T) {
	for _, name := range []string{"db_password", "db_user", "db_name", "admin_passwd", "server_wide_modules", "addons_path",
		"data_dir", "list_db", "dbfilter", "proxy_mode", "http_port", "gevent_port", "workers"} {
		require.Contains(t, reserved, name)
	}
	for name, reason := range reserved {
		for _, spelling := range []string{name, strings.ReplaceAll(name, "_", "-")} {
			files := smallFiles()
			files["test.yaml"] = []byte(environmentYAML + "settings:\n  " + spelling + ": 1\n")
			_, err := Parse(files)
			require.Error(t, err, spelling)
			require.Len(t, Problems(err), 1, spelling)
			require.Equal(t, "is set by Waybill: "+reason, Problems(err)[0].Message)
			require.Equal(t, 5, Problems(err)[0].Line)
		}
	}
}
