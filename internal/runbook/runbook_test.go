package runbook

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var now = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

func acme() Facts {
	r1, r2 := Release{"r1", "sha256:1111111111111111", "c1c1c1", "src"}, Release{"r2", "sha256:2222222222222222", "c2c2c2", "src"}
	t := Tenant{Name: "acme", Hosts: []string{"acme.example"}, Database: "acme_production", Owner: "wb_production_shared_owner", Folder: "/var/lib/waybill/data/production/shared/filestore/acme_production",
		Hosting: "shared", With: 4, Ring: "canary", Labels: map[string]string{"region": "eu"}, Serving: r2, Schema: r2, Pool: "r-2222222222", Mode: "open", Size: 3 << 20,
		Last:   &Promotion{ID: "p1", Release: "r2", Before: r1, Ended: now.Add(-20 * time.Minute), Tenants: []string{"acme", "bolt"}},
		Points: []Point{{ID: "20261122T113000Z-a-live", At: now.Add(-30 * time.Minute), Verified: now.Add(-29 * time.Minute), Bytes: 5 << 20, Release: r1}, {ID: "20261121T113000Z-b-live", At: now.Add(-24 * time.Hour), Release: r1}},
		Took:   &Measured{Seconds: 7.9, At: now.Add(-time.Hour), By: "rehearsal x1"}}
	bolt := Tenant{Name: "bolt", Hosts: []string{"bolt.example"}, Database: "bolt_production", Owner: t.Owner, Folder: "/f/bolt", Hosting: "shared", Serving: r2, Schema: r2}
	return Facts{Now: now, Tenant: t,
		Installation: Installation{Data: "/var/lib/waybill", Estate: "/srv/estate", Embedded: true, Bucket: "file:///var/lib/waybill/objects", BucketHere: true,
			Key: "/var/lib/waybill/keys/identity.txt", RegistryHere: true, Version: "1.0"},
		Environment: Environment{Name: "production", File: "production.yaml", Before: "test", Server: Server{Embedded: true, Address: "/var/lib/waybill/run/tenants"},
			People:  []Person{{"ann", []string{"ann@example.com"}, []string{"operator"}}},
			Targets: []Target{{Name: "duty", To: []string{"duty@example.com"}}}, Tenants: []Tenant{t, bolt}}}
}

func section(t *testing.T, b Book, title string) string {
	t.Helper()
	for _, s := range b.Sections {
		if s.Title == title {
			return Book{Sections: []Section{s}}.Markdown()
		}
	}
	require.Fail(t, "no section "+title)
	return ""
}

func TestLossIsSaidAsOfNow(t *testing.T) {
	f := acme()
	said := section(t, Of(f), "A bad release has just gone live")
	require.Contains(t, said, "nothing is lost")
	require.Contains(t, said, "waybill rollback p1 --reason 'what people see'")
	require.Contains(t, said, "all 2 tenants")
	require.NotContains(t, said, "--accept-loss")

	last := *f.Tenant.Last
	last.Breaking, last.Checkpoint, last.Released = true, "c9", now.Add(-14*time.Minute-30*time.Second)
	f.Tenant.Last = &last
	said = section(t, Of(f), "A bad release has just gone live")
	require.Contains(t, said, "15 minutes of work as of now")
	require.Contains(t, said, "waybill rollback p1 --accept-loss")

	require.Contains(t, section(t, Of(f), "Data was damaged at a certain time"), "31 minutes of work as of now")
	require.Contains(t, section(t, Of(f), "Recovery points"), "a restore took 8 s, measured by rehearsal x1 61 minutes ago")
}

func TestWhatIsMissingIsNamed(t *testing.T) {
	f := acme()
	f.Tenant.Points, f.Tenant.Took, f.Tenant.Last = nil, nil, nil
	f.Environment.People, f.Environment.Targets = nil, nil
	f.Installation.OfflineKey = "/var/lib/waybill/OFFLINE-KEY-take-me-off-this-machine.txt"
	b := Of(f)
	require.Contains(t, section(t, b, "Recovery points"), "There is none")
	require.Contains(t, section(t, b, "The database server is lost"), "its data is lost with the server")
	require.Contains(t, section(t, b, "Who to call"), "Nobody is told")
	lost := section(t, b, "The whole machine is lost")
	require.Contains(t, lost, "The bucket is a folder of this machine")
	require.Contains(t, lost, "offline key is still on this machine")
	require.Contains(t, lost, "nothing can be brought back")
	require.Contains(t, section(t, b, "A bad release has just gone live"), "no promotion on record")
	for _, line := range b.Commands() {
		require.NotContains(t, line, "recover production/acme", "of nothing, nothing is recovered")
	}
	f.Installation.BucketHere, f.Installation.Bucket = false, "s3://rescue?region=eu"
	require.NotContains(t, section(t, Of(f), "The whole machine is lost"), "rsync")
}

// A password is where the estate says it is, and nowhere else.
func TestServerOfItsOwn(t *testing.T) {
	f := acme()
	f.Environment.Server = Server{Address: "db.example:5432", URL: "postgres://admin@db.example:5432/postgres", Password: "file:/etc/waybill/db password"}
	said := section(t, Of(f), "The database server is lost")
	require.Contains(t, said, `export WAYBILL_ADMIN_URL="postgres://admin:$(cat '/etc/waybill/db password')@db.example:5432/postgres"`)
	require.Contains(t, said, `psql "$WAYBILL_ADMIN_URL" --command 'CREATE ROLE "wb_production_shared_owner" NOLOGIN'`)
	require.Contains(t, said, "waybill recover production/acme 20261122T113000Z-a-live --bucket file:///var/lib/waybill/objects --key /var/lib/waybill/keys/identity.txt --database acme_production --owner wb_production_shared_owner --filestore /var/lib/waybill/data/production/shared/filestore/acme_production")
	f.Environment.Server.Password = "env:DB_PASSWORD"
	require.Contains(t, section(t, Of(f), "This tenant is noisy"), `postgres://admin:$DB_PASSWORD@db.example`)
}

func TestEnvironment(t *testing.T) {
	b := OfEnvironment(acme())
	require.Contains(t, section(t, b, "What there is"), "1 of them have no way back at all")
	lines := strings.Join(b.Commands(), "\n")
	require.Contains(t, lines, "waybill checkpoint create production/bolt")
	require.Contains(t, lines, "waybill tenant create production/acme --release r1 --from production/acme/20261122T113000Z-a-live")
	require.NotContains(t, lines, "tenant create production/bolt", "there is nothing to make it from")
	require.Contains(t, lines, "waybill promote r2 production --tenant acme --force")
	require.Equal(t, 1, strings.Count(lines, "CREATE ROLE"), "one role of a group")
	require.Contains(t, lines, "waybill build --source FOLDER-OF-THE-SOURCES --commit c2c2c2 --name r2")
}

func TestQuote(t *testing.T) {
	for word, want := range map[string]string{"": "''", "a/b": "a/b", "it's $HOME": `'it'\''s $HOME'`, "a b": "'a b'", "s3://b?region=x": "'s3://b?region=x'"} {
		require.Equal(t, want, quote(word))
	}
}
