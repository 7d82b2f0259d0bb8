//go:build odoo

package bench

import (
	"bufio"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/waybill-dev/waybill/examples/acme/stage"
	"github.com/waybill-dev/waybill/internal/bridge"
)

// odoosOwn is Odoo's backup and restore, zip with filestore, as its database manager runs them. The
// time to start Python and Odoo is not counted.
const odoosOwn = `
import json, time, odoo
from odoo.service import db
odoo.tools.config.parse_config(["-c", "/etc/waybill/odoo.conf"])
odoo.tools.config["list_db"] = True
began = time.time()
with open("/tmp/backup.zip", "w+b") as stream:
    db.dump_db("acme_production", stream, "zip")
backup = time.time() - began
began = time.time()
db.restore_db("bench_theirs", "/tmp/backup.zip")
print(json.dumps({"backup": backup, "restore": time.time() - began}))
`

// BenchmarkCheckpoint compares checkpoint and restore with Odoo's own backup and restore of the same
// database and filestore. Ours encrypts, reads back, and compares every table's rows; the first
// checkpoint stores all files, later ones only new files. Theirs opens the registry at the end.
func BenchmarkCheckpoint(b *testing.B) {
	s := theStage(b)
	hand := byHand(b, s, "r1")
	for b.Loop() {
		id, ours := "", [2]float64{}
		began := time.Now()
		id, err := s.Checkpoint(b.Context())
		if err != nil {
			b.Fatal(err)
		}
		ours[0] = time.Since(began).Seconds()
		ours[1] = recoverInto(b, s, id, "bench_ours")
		var theirs struct{ Backup, Restore float64 }
		said := strings.TrimSpace(hand.run(b, "python3", "-c", odoosOwn))
		if err := json.Unmarshal([]byte(said[strings.LastIndex(said, "\n")+1:]), &theirs); err != nil {
			b.Fatalf("Odoo's backup said no times: %v: %s", err, tail(said))
		}
		report(b, "checkpoint", "s", ours[0], theirs.Backup, "odoo.service.db.dump_db, zip")
		report(b, "restore", "s", ours[1], theirs.Restore, "odoo.service.db.restore_db")
		drop(b, s, "bench_ours", "bench_theirs")
	}
}

// recoverInto restores a checkpoint into a new database, from the bucket and the key alone.
func recoverInto(b *testing.B, s *stage.Stage, id, database string) float64 {
	b.Helper()
	url, err := s.DatabaseURL(stage.TenantsServer, "postgres")
	if err != nil {
		b.Fatal(err)
	}
	command := exec.CommandContext(b.Context(), s.Binary, "recover", stage.Tenant, id, "--bucket", "file://"+filepath.Join(s.Data(), "objects"),
		"--key", filepath.Join(s.Data(), "keys", "identity.txt"), "--database", database, "--owner", "wb_production_shared_owner",
		"--filestore", filepath.Join(filepath.Dir(s.Filestore()), database))
	command.Env = append(os.Environ(), "WAYBILL_ADMIN_URL="+url)
	began := time.Now()
	if out, err := command.CombinedOutput(); err != nil {
		b.Fatalf("recover: %v: %s", err, out)
	}
	return time.Since(began).Seconds()
}

// BenchmarkUpdate compares the update in one transaction, flows left out, with plain "-u" of the same
// module on a copy of the same database. Both times include the start of the container and of Odoo.
func BenchmarkUpdate(b *testing.B) {
	s := theStage(b)
	hand := byHand(b, s, "r2")
	id, err := s.Checkpoint(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		var ours, theirs float64
		const rounds = 2
		for range rounds { // in turn, so that what is warm is warm for both
			for _, database := range []string{"bench_ours", "bench_theirs"} {
				drop(b, s, database)
				recoverInto(b, s, id, database)
			}
			began := time.Now()
			hand.run(b, "odoo", "-c", "/etc/waybill/odoo.conf", "-d", "bench_theirs", "-u", "acme_dock", "--stop-after-init")
			theirs += time.Since(began).Seconds() / rounds
			job, err := json.Marshal(bridge.Job{Protocol: bridge.Protocol, Promotion: "bench" + strconv.FormatInt(began.UnixNano(), 36), Release: s.Digests["r2"],
				Database: "bench_ours", Update: []string{"acme_dock"}, Install: []string{}, Flows: []string{}, Transaction: true, SkipFlows: true, Checksums: map[string]string{}})
			if err != nil {
				b.Fatal(err)
			}
			hand.write(b, bridge.JobFile, job)
			began = time.Now()
			hand.run(b, bridge.UpdateCommand(about(b, s, "r2").Base.AddonsPaths)...)
			ours += time.Since(began).Seconds() / rounds
		}
		report(b, "update", "s", ours, theirs, "odoo -u acme_dock --stop-after-init")
		drop(b, s, "bench_ours", "bench_theirs")
	}
}

// BenchmarkRouter runs the router's own benchmark against no router, and puts it into the table.
func BenchmarkRouter(b *testing.B) {
	for b.Loop() {
		command := exec.CommandContext(b.Context(), "go", "test", "-run", "^$", "-bench", "^BenchmarkAdded$", "-benchtime", "1x", "github.com/waybill-dev/waybill/internal/router")
		out, err := command.Output()
		if err != nil {
			b.Fatalf("%v: %s", err, out)
		}
		seen := 0
		scanner := bufio.NewScanner(strings.NewReader(string(out)))
		for scanner.Scan() {
			fields := strings.Fields(scanner.Text())
			if len(fields) < 3 || !strings.HasPrefix(fields[0], "BenchmarkAdded/") {
				continue
			}
			metric := map[string]float64{}
			for i := 2; i+1 < len(fields); i += 2 {
				if metric[fields[i+1]], err = strconv.ParseFloat(fields[i], 64); err != nil {
					b.Fatalf("%v in %q", err, scanner.Text())
				}
			}
			name := strings.TrimPrefix(strings.SplitN(fields[0], "-", 2)[0], "BenchmarkAdded/")
			for _, quantile := range []string{"p50", "p99"} {
				direct, added := metric["direct-"+quantile+"-ms"], metric["added-"+quantile+"-ms"]
				if direct <= 0 || added == 0 {
					b.Fatalf("the router's benchmark says nothing of %s: %s", quantile, scanner.Text())
				}
				report(b, quantile+" of a request, "+name, "ms", direct+added, direct, "the pool without a router")
			}
			seen++
		}
		if seen == 0 {
			b.Fatalf("the router's benchmark printed no result: %s", out)
		}
	}
}
