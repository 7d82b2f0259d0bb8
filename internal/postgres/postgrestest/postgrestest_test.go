package postgrestest_test

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/internal/long"
	"github.com/waybill-dev/waybill/internal/postgres"
	"github.com/waybill-dev/waybill/internal/postgres/postgrestest"
)

// endEnv makes this program one that starts a server and then ends in the way it names.
const endEnv = "POSTGRESTEST_END"

var server = postgrestest.Shared(postgres.Options{Settings: map[string]string{"work_mem": "7MB"}})

func TestSharedIsOneServer(t *testing.T) {
	require.Same(t, server(t), server(t))
	conn, err := pgx.Connect(t.Context(), server(t).URL("postgres"))
	require.NoError(t, err)
	defer func() { _ = conn.Close(t.Context()) }()
	for setting, want := range map[string]string{"work_mem": "7MB", "fsync": "off"} {
		var value string
		require.NoError(t, conn.QueryRow(t.Context(), "show "+setting).Scan(&value))
		require.Equal(t, want, value, setting)
	}
}

// However the tests' process ends, its server and the server's folder go.
func TestTheServerEndsWithTheTests(t *testing.T) {
	long.Test(t)
	if how := os.Getenv(endEnv); how != "" {
		fmt.Println(filepath.Dir(filepath.Dir(server(t).SocketDir()))) // read by the parent
		if how == "panic" {
			go panic("as a test's goroutine may")
		}
		select {}
	}
	for _, how := range []string{"panic", "kill"} {
		t.Run(how, func(t *testing.T) {
			cmd := exec.Command(os.Args[0], "-test.run=^TestTheServerEndsWithTheTests$")
			cmd.Env = append(os.Environ(), endEnv+"="+how)
			out, err := cmd.StdoutPipe()
			require.NoError(t, err)
			require.NoError(t, cmd.Start())
			lines := bufio.NewScanner(out)
			require.True(t, lines.Scan())
			dir := lines.Text()
			if how == "kill" {
				require.FileExists(t, filepath.Join(dir, "pg", "data", "postmaster.pid"))
				require.NoError(t, cmd.Process.Kill())
			}
			require.Error(t, cmd.Wait())
			require.Eventually(t, func() bool {
				_, err := os.Stat(dir)
				return os.IsNotExist(err)
			}, time.Minute, 20*time.Millisecond)
		})
	}
}
