package runbook

import (
	"fmt"
	"strings"
	"time"
)

// OfEnvironment is the runbook of all tenants of an environment: what is lost together. Facts.Tenant is not looked at.
func OfEnvironment(f Facts) Book {
	all := f.Environment.Tenants
	return Book{Title: "Runbook of environment " + f.Environment.Name, MadeAt: f.Now, Sections: []Section{
		f.tenants(), f.whom(), f.beginAll(), f.serverLostForAll(), f.machineLost(all), f.bucketLost(all),
	}}
}

func (f Facts) tenants() Section {
	rows := [][]string{{"tenant", "hosts", "serves", "newest recovery point", "loses now", "restore takes"}}
	bare := []string{}
	for _, t := range f.Environment.Tenants {
		point, loses, takes := "none", "everything", "not measured"
		if newest, ok := t.newest(); ok {
			point, loses = newest.ID, minutes(f.Now.Sub(newest.At))
		} else {
			bare = append(bare, t.Name)
		}
		if t.Took != nil {
			takes = span(seconds(t.Took.Seconds))
		}
		rows = append(rows, []string{t.Name, strings.Join(t.Hosts, ", "), or(t.Serving.Name, "nothing"), point, loses, takes})
	}
	parts := []Part{text("%s declares %d tenants, in %s. Their databases are in %s.", f.Environment.File, len(f.Environment.Tenants), f.Environment.Name, f.Environment.Server.describe()), {Rows: rows}}
	if len(bare) > 0 {
		var lines []string
		for _, name := range bare {
			lines = append(lines, command("waybill", "checkpoint", "create", f.Environment.Name+"/"+name))
		}
		parts = append(parts, text("**Without a checkpoint**, %s of them have no way back at all:", fmt.Sprint(len(bare))), run(lines...))
	}
	parts = append(parts, text("What one of them needs alone, a bad release or damaged data: `waybill runbook tenant %s/TENANT`.", f.Environment.Name))
	return Section{Title: "What there is", Parts: parts}
}

func (f Facts) beginAll() Section {
	return Section{Title: "Before anything else", Parts: []Part{
		text("On the machine of the server, as the user that it runs as:"),
		run(command("export", "WAYBILL_DATA="+f.Installation.Data), "waybill status", "waybill doctor"),
	}}
}

func (f Facts) serverLostForAll() Section {
	s := Section{Title: "The database server is lost"}
	var make, recover, owners []string
	seen := map[string]bool{}
	var total time.Duration
	measured := true
	for _, t := range f.Environment.Tenants {
		newest, ok := t.newest()
		if !ok {
			continue
		}
		ref := f.Environment.Name + "/" + t.Name
		make = append(make, command("waybill", "tenant", "create", ref, "--release", newest.Release.called(), "--from", ref+"/"+newest.ID))
		recover = append(recover, f.recover(t, newest.ID, f.Installation.Key, f.Installation.Bucket))
		if !seen[t.Owner] {
			seen[t.Owner] = true
			owners = append(owners, t.makeOwner())
		}
		if t.Took == nil {
			measured = false
			continue
		}
		total += seconds(t.Took.Seconds)
	}
	if len(make) == 0 {
		s.Parts = []Part{text("No tenant has a checkpoint: **their data is lost with the server.**")}
		return s
	}
	takes := "One after the other that takes at least " + span(total) + ", as restores of them were measured"
	if !measured {
		takes += "; some were never measured, and come on top"
	}
	if total == 0 {
		takes = "How long that takes was never measured"
	}
	s.Parts = []Part{
		text("Each tenant loses what the table above says. **With Waybill**, once an empty PostgreSQL server is there and Waybill has been started again, which makes the roles of the pools anew:"),
		run(f.start()), text("%s", secondTerminal), run(make...),
		text("%s.", takes),
		text("**Without Waybill**, from the bucket and a key alone, into any PostgreSQL server:"),
		run(append(append([]string{f.Environment.Server.adminURL()}, owners...), recover...)...),
	}
	return s
}
