//go:build odoo

// Package kill takes Waybill's parts away while a release goes into production, and looks whether
// it goes on, ends where it should, and leaves nothing behind: the server is killed at every step
// boundary and inside the steps; PostgreSQL, the Docker Engine, the registry and the disk fail.
//
// A real server, Odoo, PostgreSQL and engine; a crew that places and ships orders all the while.
// WAYBILL_KILL=core runs a few points, all (or nothing) the whole matrix.
package kill

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/waybill-dev/waybill/examples/acme/stage"
)

// holdBudget leaves room for servers that die in the hold, one after the other, on a busy machine.
const holdBudget = 150 * time.Second

func TestMain(m *testing.M) {
	code := m.Run()
	printTable(os.Stdout)
	if shared != nil {
		if code != 0 && os.Getenv("WAYBILL_KEEP") != "" {
			fmt.Println("kept for a look:", shared.Folder)
		} else if err := shared.Close(context.Background()); err != nil {
			fmt.Println("closing the stage:", err)
			code = max(code, 1)
		}
		_ = os.Remove(shared.Binary)
	}
	os.Exit(code)
}

// shared is the stage that all tests act on, one after the other.
var (
	shared *stage.Stage
	broken error // why there is none
)

// theStage opens the shared stage on first use.
func theStage(t *testing.T) *stage.Stage {
	t.Helper()
	if broken != nil {
		t.Fatalf("the stage could not be opened: %v", broken)
	}
	if shared == nil {
		options, err := stage.Here(t.Context(), "kill")
		if err == nil {
			options.Hold = holdBudget
			options.Log = func(format string, args ...any) { fmt.Printf(format+"\n", args...) }
			shared, err = stage.Open(context.WithoutCancel(t.Context()), options)
		}
		if err != nil {
			broken = err
			t.Fatal(err)
		}
	}
	return shared
}
