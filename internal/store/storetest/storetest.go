// Package storetest gives tests a store on a real server: one that a package's tests share, or one of a test's own, which is
// a copy of a database that has the tables already.
package storetest

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/waybill-dev/waybill/internal/postgres"
	"github.com/waybill-dev/waybill/internal/store"
)

const template = "storetest_template"

var (
	mu    sync.Mutex
	ready = map[*postgres.Cluster]bool{} // servers that have the template
	made  int                            // databases, for their names
)

// Open returns a store in a database of the test's own, which is closed with the test.
func Open(t testing.TB, server *postgres.Cluster) *store.Store {
	t.Helper()
	return open(t, Database(t, server))
}

// Shared returns a store in the database that all tests on this server share. It costs a tenth of a copy; its tests keep
// apart by the names they use.
func Shared(t testing.TB, server *postgres.Cluster) *store.Store {
	t.Helper()
	return open(t, server.URL("postgres"))
}

func open(t testing.TB, url string) *store.Store {
	t.Helper()
	s, err := store.Open(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// Database makes a store's database and returns its URL. It is left to the server's end.
func Database(t testing.TB, server *postgres.Cluster) string {
	t.Helper()
	mu.Lock() // a template must not be copied twice at a time while somebody is in it
	defer mu.Unlock()
	name, err := copied(t.Context(), server)
	if err != nil {
		t.Fatalf("make a database for %s: %v", t.Name(), err)
	}
	return server.URL(name)
}

func copied(ctx context.Context, server *postgres.Cluster) (string, error) {
	admin, err := pgx.Connect(ctx, server.URL("postgres"))
	if err != nil {
		return "", err
	}
	defer func() { _ = admin.Close(context.WithoutCancel(ctx)) }()
	if !ready[server] {
		if _, err := admin.Exec(ctx, "create database "+template); err != nil {
			return "", err
		}
		s, err := store.Open(ctx, server.URL(template))
		if err != nil {
			return "", err
		}
		s.Close()
		ready[server] = true
	}
	made++
	strategy := ""
	if major, _, _ := strings.Cut(server.Version, "."); major >= "15" {
		strategy = " strategy file_copy" // as every older one does: twice as fast where nothing is flushed
	}
	name := fmt.Sprintf("store_%d", made)
	if _, err := admin.Exec(ctx, "create database "+name+" template "+template+strategy); err != nil {
		return "", err
	}
	// A copy carries its template's identity along, and two stores never share one.
	db, err := pgx.Connect(ctx, server.URL(name))
	if err != nil {
		return "", err
	}
	defer func() { _ = db.Close(context.WithoutCancel(ctx)) }()
	_, err = db.Exec(ctx, "update ledger_identity set id = replace(gen_random_uuid()::text, '-', '')")
	return name, err
}
