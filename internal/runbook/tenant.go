package runbook

import (
	"fmt"
	"maps"
	"net/url"
	"path"
	"slices"
	"strings"
	"time"
)

// MaxPoints is how many recovery points a runbook lists.
const MaxPoints = 8

// Of is the runbook of one tenant.
func Of(f Facts) Book {
	return Book{Title: "Runbook of tenant " + f.ref(), MadeAt: f.Now, Sections: []Section{
		f.what(), f.whom(), f.points(), f.begin(),
		f.badRelease(), f.damaged(), f.serverLost(), f.machineLost([]Tenant{f.Tenant}), f.bucketLost([]Tenant{f.Tenant}), f.noisy(),
	}}
}

func (f Facts) ref() string { return f.Environment.Name + "/" + f.Tenant.Name }

func (t Tenant) newest() (Point, bool) {
	if len(t.Points) == 0 {
		return Point{}, false
	}
	return t.Points[0], true
}

func (f Facts) what() Section {
	t := f.Tenant
	hosting := t.Hosting
	if t.With > 0 {
		hosting += fmt.Sprintf(", its pool serves %d more", t.With)
	}
	rows := [][]string{{"what", "now"},
		{"hosts", strings.Join(t.Hosts, ", ")},
		{"database", t.Database + ", of role " + t.Owner},
		{"database server", f.Environment.Server.describe()},
		{"filestore", t.Folder},
		{"hosting", hosting},
	}
	switch {
	case t.Why != "":
		rows = append(rows, []string{"size", "not known: " + t.Why})
	case t.Size > 0:
		rows = append(rows, []string{"size", size(t.Size) + " in the database server"})
	}
	if t.Ring != "" {
		rows = append(rows, []string{"ring", t.Ring})
	}
	for _, key := range slices.Sorted(maps.Keys(t.Labels)) {
		rows = append(rows, []string{"label " + key, t.Labels[key]})
	}
	rows = append(rows, []string{"release that serves", t.Serving.say()}, []string{"release of its schema", t.Schema.say()})
	if t.Pool != "" {
		rows = append(rows, []string{"pool", t.Pool}, []string{"route", t.Mode})
	}
	if !t.Leaving.IsZero() {
		rows = append(rows, []string{"deleted", fmt.Sprintf("its data goes after %s; to take it back: `%s`", when(t.Leaving), command("waybill", "tenant", "undelete", f.ref()))})
	}
	if t.Busy != "" {
		rows = append(rows, []string{"takes part in", "promotion " + t.Busy})
	}
	return Section{Title: "What it is", Parts: []Part{{Rows: rows}}}
}

func (s Server) describe() string {
	if s.Embedded {
		return "the one that waybill up runs, socket folder " + s.Address
	}
	return s.Address
}

func (r Release) say() string {
	if !r.Known() {
		return "none"
	}
	said := r.Name + " (" + short(r.Digest) + ")"
	if r.Commit != "" {
		said += ", of commit " + short(r.Commit)
	}
	return said
}

// short is enough of a digest to tell it from others.
func short(digest string) string {
	digest = strings.TrimPrefix(digest, "sha256:")
	return digest[:min(len(digest), 12)]
}

// called is what a release is called on a command line.
func (r Release) called() string {
	switch {
	case r.Name != "":
		return r.Name
	case r.Digest != "":
		return short(r.Digest)
	}
	return "RELEASE"
}

func (f Facts) whom() Section {
	people := [][]string{{"who", "may", "address"}}
	for _, p := range f.Environment.People {
		people = append(people, []string{p.Name, strings.Join(p.Roles, ", "), or(strings.Join(p.Emails, ", "), "none in the estate")})
	}
	targets := [][]string{{"target", "is told of", "address"}}
	for _, t := range f.Environment.Targets {
		targets = append(targets, []string{t.Name, or(strings.Join(t.Events, ", "), "everything"), or(strings.Join(t.To, ", "), "a secret of the estate")})
	}
	var parts []Part
	if len(people) == 1 {
		parts = append(parts, text("The estate names nobody who may act here (kind: Access): whoever holds the token of the data folder is alone."))
	} else {
		parts = append(parts, Part{Rows: people})
	}
	if len(targets) == 1 {
		parts = append(parts, text("**Nobody is told by Waybill**: the estate has no notifications for this environment (kind: Notifications)."))
	} else {
		parts = append(parts, Part{Rows: targets})
	}
	return Section{Title: "Who to call", Parts: parts}
}

func or(said, otherwise string) string {
	if said == "" {
		return otherwise
	}
	return said
}

func (f Facts) points() Section {
	t := f.Tenant
	newest, ok := t.newest()
	if !ok {
		return Section{Title: "Recovery points", Parts: []Part{
			text("**There is none.** Whatever happens to the data now is for good. Take one:"), run(command("waybill", "checkpoint", "create", f.ref()))}}
	}
	rows := [][]string{{"checkpoint", "recovery point", "ago", "read back", "size", "schema of"}}
	for _, p := range t.Points[:min(len(t.Points), MaxPoints)] {
		verified := "never"
		if !p.Verified.IsZero() {
			verified = when(p.Verified)
		}
		bytes := "?"
		if p.Bytes > 0 {
			bytes = size(p.Bytes)
		}
		rows = append(rows, []string{p.ID, when(p.At), span(f.Now.Sub(p.At)), verified, bytes, p.Release.called()})
	}
	parts := []Part{{Rows: rows}}
	if more := len(t.Points) - MaxPoints; more > 0 {
		parts = append(parts, text("And %d older ones:", more), run(command("waybill", "checkpoint", "list", f.ref())))
	}
	lost := fmt.Sprintf("**Recovery point (RPO)**: whoever goes back to the newest one loses %s of work as of now.", minutes(f.Now.Sub(newest.At)))
	if newest.Verified.IsZero() {
		lost += " It was never read back: nobody knows yet whether it can be."
	}
	return Section{Title: "Recovery points", Parts: append(parts, text("%s", lost), text("%s", f.recoveryTime()))}
}

func (f Facts) recoveryTime() string {
	took := f.Tenant.Took
	if took == nil {
		return "**Recovery time (RTO)**: not known: nothing of this tenant was ever restored here. A rehearsal measures it: `" +
			command("waybill", "rehearse", f.Tenant.Serving.called(), "--env", f.Environment.Name, "--tenant", f.Tenant.Name) + "`"
	}
	return fmt.Sprintf("**Recovery time (RTO)**: a restore took %s, measured by %s %s ago. Starting a pool and its flows come on top.",
		span(seconds(took.Seconds)), took.By, span(f.Now.Sub(took.At)))
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

func (f Facts) begin() Section {
	return Section{Title: "Before anything else", Parts: []Part{
		text("On the machine of the server, as the user that it runs as:"),
		run(command("export", "WAYBILL_DATA="+f.Installation.Data), "waybill status", "waybill doctor"),
		text("`waybill status` says whether %s is served and by what; `waybill doctor` says what is broken beneath it, and what to do.", f.ref()),
	}}
}

func (f Facts) badRelease() Section {
	s := Section{Title: "A bad release has just gone live"}
	t := f.Tenant
	if t.Busy != "" {
		s.Parts = append(s.Parts, text("Promotion %s is under way. It is undone so:", t.Busy),
			run(command("waybill", "promotion", "show", t.Busy), command("waybill", "rollback", t.Busy, "--reason", "what people see")))
	}
	last := t.Last
	switch {
	case last == nil && !t.Serving.Known():
		s.Parts = append(s.Parts, text("Nothing serves this tenant."))
	case last == nil:
		s.Parts = append(s.Parts, text("%s serves, and no promotion on record brought it: there is no way of the route back. What there is:", t.Serving.say()),
			run(command("waybill", "promotion", "list", "--environment", f.Environment.Name), "waybill release list"))
	case !last.Before.Known():
		s.Parts = append(s.Parts, text("Promotion %s brought %s %s ago, and nothing served before: there is nothing to go back to. Build a release that is mended, and promote it:",
			last.ID, last.Release, span(f.Now.Sub(last.Ended))), run(command("waybill", "promote", "RELEASE", f.Environment.Name, "--tenant", t.Name)))
	case last.Breaking:
		s.Parts = append(s.Parts, text("Promotion %s brought %s %s ago. The release before, %s, cannot work on its schema, so the way back is a restore of checkpoint `%s`.",
			last.ID, last.Release, span(f.Now.Sub(last.Ended)), last.Before.say(), last.Checkpoint),
			text("**A person decides**: it loses all that was written since %s, which is %s of work as of now.%s", when(last.Released), minutes(f.Now.Sub(last.Released)), all(last.Tenants)),
			run(command("waybill", "rollback", last.ID, "--accept-loss", "--reason", "what people see")))
	default:
		s.Parts = append(s.Parts, text("Promotion %s brought %s %s ago. The release before, %s, works on the database as it is: the route goes back, **nothing is lost** (0 minutes), and nobody waits.%s",
			last.ID, last.Release, span(f.Now.Sub(last.Ended)), last.Before.say(), all(last.Tenants)),
			run(command("waybill", "rollback", last.ID, "--reason", "what people see")))
	}
	return s
}

// all says who else goes back.
func all(tenants []string) string {
	if len(tenants) < 2 {
		return ""
	}
	shown := tenants
	more := ""
	if len(shown) > 10 {
		more = fmt.Sprintf(" and %d more", len(shown)-10)
		shown = shown[:10]
	}
	return fmt.Sprintf(" It takes back **all %d tenants** of that promotion: %s%s.", len(tenants), strings.Join(shown, ", "), more)
}

func (f Facts) damaged() Section {
	s := Section{Title: "Data was damaged at a certain time"}
	newest, ok := f.Tenant.newest()
	if !ok {
		s.Parts = []Part{text("There is no checkpoint of %s. What Waybill can do is to keep what is left, before more goes:", f.ref()), run(command("waybill", "checkpoint", "create", f.ref()))}
		return s
	}
	day := newest.At.Local().Format("2006-01-02 15:04")
	look := []string{command("waybill", "restore", f.ref(), "--to-time", day, "--beside", "--as", "look")}
	if len(f.Tenant.Hosts) > 0 {
		look = []string{command("waybill", "restore", f.ref(), "--to-time", day, "--beside", "--as", "look", "--host", "look."+f.Tenant.Hosts[0])}
	}
	s.Parts = []Part{
		text("**Look first.** The newest checkpoint from before the damage is restored beside the living tenant, which goes on working and is not touched: **nothing is lost** (0 minutes). It sends no mail and runs no cron. " +
			"Put the time of the damage in the place of the one below, which leads to the newest checkpoint of all. The host name must lead to this machine."),
		run(append(look, command("waybill", "restore", "list", f.ref()))...),
		text("Compare, and take over by hand or by export what is missing. Then take it away; it goes by itself after a week:"),
		run(command("waybill", "restore", "drop", f.ref(), "look")),
		text("**Or go back over it. A person decides**: to go back to `%s` loses all that was written since %s, which is %s of work as of now. What is there now is captured first, so this can be taken back as well.",
			newest.ID, when(newest.At), minutes(f.Now.Sub(newest.At))),
		run(command("waybill", "restore", f.ref(), newest.ID)),
		text("For a time instead of a checkpoint, `%s` takes the newest one before it; whoever goes back further loses more, as the table above says.", command("waybill", "restore", f.ref(), "--to-time", day)),
		text("People see a page that tries again by itself while it lasts, and nobody is let in before the flows pass. %s", f.recoveryTime()),
	}
	return s
}

// makeOwner makes the role that the database shall belong to.
func (t Tenant) makeOwner() string {
	return psql(fmt.Sprintf(`CREATE ROLE "%s" NOLOGIN`, t.Owner))
}

// psql runs one statement where WAYBILL_ADMIN_URL leads.
func psql(statement string) string {
	return `psql "$WAYBILL_ADMIN_URL" --command ` + quote(statement)
}

// recover restores without Waybill's server.
func (f Facts) recover(t Tenant, id string, key, bucket string) string {
	return command("waybill", "recover", f.Environment.Name+"/"+t.Name, id, "--bucket", bucket, "--key", key,
		"--database", t.Database, "--owner", t.Owner, "--filestore", t.Folder)
}

// adminURL is a line that sets it, with the password from where the estate has it.
func (s Server) adminURL() string {
	if s.Embedded || s.URL == "" {
		return `export WAYBILL_ADMIN_URL='postgres://postgres@/postgres?host=/var/run/postgresql'`
	}
	u, err := url.Parse(s.URL)
	if err != nil {
		return command("export", "WAYBILL_ADMIN_URL="+s.URL)
	}
	secret := ""
	if kind, name, _ := strings.Cut(s.Password, ":"); kind == "env" {
		secret = ":$" + name
	} else if kind == "file" {
		secret = ":$(cat " + quote(name) + ")"
	}
	user := ""
	if u.User != nil {
		user = u.User.Username() + secret + "@"
	}
	return fmt.Sprintf(`export WAYBILL_ADMIN_URL="postgres://%s%s/postgres"`, user, u.Host)
}

func (f Facts) serverLost() Section {
	t, in := f.Tenant, f.Installation
	s := Section{Title: "The database server is lost"}
	newest, ok := t.newest()
	if !ok {
		s.Parts = []Part{text("There is no checkpoint of %s: **its data is lost with the server.**", f.ref())}
		return s
	}
	loses := fmt.Sprintf("All that was written since %s is lost: %s of work as of now.", when(newest.At), minutes(f.Now.Sub(newest.At)))
	server := "Put an empty PostgreSQL server at " + f.Environment.Server.Address + " (the same major version or a newer one)"
	if f.Environment.Server.Embedded {
		server = fmt.Sprintf("Move what is left of `%s` aside; Waybill makes an empty server there", path.Join(in.Data, "postgres-tenants"))
	}
	s.Parts = []Part{
		text("%s It concerns all %d tenants of %s: `%s`.", loses, len(f.Environment.Tenants), f.Environment.Name, command("waybill", "runbook", "environment", f.Environment.Name)),
		text("**With Waybill.** %s, and start Waybill again: it makes the roles of the pools anew. Then the database comes from the checkpoint, and the pool that is there serves it:", server),
		run(f.start()), text("%s", secondTerminal),
		run(command("waybill", "tenant", "create", f.ref(), "--release", newest.Release.called(), "--from", f.ref()+"/"+newest.ID)),
		text("**Without Waybill**, from the bucket and a key alone, into any PostgreSQL server:"),
		run(f.Environment.Server.adminURL(), t.makeOwner(), f.recover(t, newest.ID, in.Key, in.Bucket)),
		text("Any other key that the checkpoints are encrypted to does as well, the offline key above all. %s", f.recoveryTime()),
	}
	return s
}

// secondTerminal is where a person goes on: the server stays in the foreground.
const secondTerminal = "The server stays in that terminal, where it is no service of the machine's. Once it says that it is ready, in a second one:"

// start is how the server is started.
func (f Facts) start() string {
	in := f.Installation
	if in.Embedded {
		return command("waybill", "up", "--data", in.Data, "--estate", in.Estate)
	}
	return command("waybill", "serve", "--data", in.Data, "--estate", in.Estate, "--bucket", in.Bucket, "--registry", "HOST/PREFIX")
}

func (f Facts) machineLost(tenants []Tenant) Section {
	in := f.Installation
	s := Section{Title: "The whole machine is lost"}
	add := func(p ...Part) { s.Parts = append(s.Parts, p...) }
	if in.BucketHere {
		add(text("**The bucket is a folder of this machine** (`%s`). Unless another machine holds it, every checkpoint is lost as well, and nothing brings the data back but a copy that you have made elsewhere. Make one now, and again after each checkpoint:", in.Bucket),
			run(command("rsync", "--archive", strings.TrimPrefix(in.Bucket, "file://")+"/", "OTHER-MACHINE:waybill-bucket/")))
	}
	if in.OfflineKey != "" {
		add(text("**The offline key is still on this machine**, and will be lost with it: without any key, no checkpoint can be opened. Take it off, now: `%s`", in.OfflineKey))
	}
	if len(served(tenants)) == 0 {
		add(text("**There is no checkpoint:** nothing can be brought back."))
		return s
	}
	remote := "your copy of the estate"
	clone := command("cp", "--archive", "COPY-OF-THE-ESTATE", in.Estate)
	if in.Remote != "" {
		remote, clone = "the estate's repository", command("git", "clone", in.Remote, in.Estate)
	}
	add(text("You need the bucket (or a copy of it), the offline key, %s, the sources of the releases, and a machine with Docker, PostgreSQL's packages and the same `waybill` (%s). "+
		"The offline key takes the place of the machine's own, so that the new server opens the old checkpoints:", remote, or(in.Version, "see waybill version")))
	lines := []string{command("export", "WAYBILL_DATA="+in.Data), clone, command("install", "-D", "-m", "0600", "offline-key.txt", path.Join(in.Data, "keys", "identity.txt"))}
	if in.BucketHere {
		lines = append(lines, command("rsync", "--archive", "OTHER-MACHINE:waybill-bucket/", strings.TrimPrefix(in.Bucket, "file://")+"/"))
	}
	add(run(append(lines, f.start())...), text("%s", secondTerminal))
	if in.RegistryHere {
		add(text("The images were on the machine as well. The same commit gives the same image:"))
		var builds []string
		for _, r := range releases(tenants) {
			builds = append(builds, command("waybill", "build", "--source", "FOLDER-OF-THE-SOURCES", "--commit", or(r.Commit, "COMMIT"), "--name", r.called()))
		}
		add(run(builds...))
	}
	promote := []string{}
	for _, t := range tenants {
		newest, ok := t.newest()
		if !ok {
			continue
		}
		ref := f.Environment.Name + "/" + t.Name
		promote = append(promote, command("waybill", "tenant", "create", ref, "--release", newest.Release.called(), "--from", ref+"/"+newest.ID))
	}
	add(text("Then the data, and the release that is to serve it%s:", forced(f.Environment.Before)))
	for _, r := range served(tenants) {
		words := []string{"waybill", "promote", r.release.called(), f.Environment.Name}
		for _, t := range r.tenants {
			words = append(words, "--tenant", t)
		}
		if f.Environment.Before != "" {
			words = append(words, "--force")
		}
		promote = append(promote, command(words...))
	}
	add(run(promote...))
	if newest, ok := tenants[0].newest(); ok && len(tenants) == 1 {
		add(text("All that was written since %s is lost: %s of work as of now. %s", when(newest.At), minutes(f.Now.Sub(newest.At)), f.recoveryTime()))
	}
	return s
}

func forced(before string) string {
	if before == "" {
		return ""
	}
	return " (`--force`, for the new server has not seen it pass " + before + ")"
}

// releases are those that must be there: what the newest checkpoints belong to, and what serves.
func releases(tenants []Tenant) (list []Release) {
	seen := map[string]bool{}
	add := func(r Release) {
		if r.Known() && !seen[r.Digest] {
			seen[r.Digest] = true
			list = append(list, r)
		}
	}
	for _, t := range tenants {
		if newest, ok := t.newest(); ok {
			add(newest.Release)
		}
		add(t.Serving)
	}
	return list
}

type serves struct {
	release Release
	tenants []string
}

// served are the tenants by what is to serve them: what does so now, or what their data belongs to.
func served(tenants []Tenant) (list []serves) {
	for _, t := range tenants {
		newest, ok := t.newest()
		if !ok {
			continue
		}
		r := t.Serving
		if !r.Known() {
			r = newest.Release
		}
		if i := slices.IndexFunc(list, func(s serves) bool { return s.release.Digest == r.Digest }); i >= 0 {
			list[i].tenants = append(list[i].tenants, t.Name)
			continue
		}
		list = append(list, serves{r, []string{t.Name}})
	}
	return list
}

func (f Facts) bucketLost(tenants []Tenant) Section {
	in := f.Installation
	lines := []string{}
	for _, t := range tenants {
		lines = append(lines, command("waybill", "checkpoint", "create", f.Environment.Name+"/"+t.Name))
	}
	where := "Give the server another bucket, or an empty one in its place"
	if in.Embedded {
		where = "Make the folder of `" + in.Bucket + "` writable again, or stop the server, move what is left of it aside, and start it again: it makes an empty one"
	}
	return Section{Title: "The bucket is lost", Parts: []Part{
		text("Everybody goes on working, and **nothing leads back any more** until there is a new checkpoint: no restore, and no way back from a release that breaks the schema. Promote nothing before. %s. Then take checkpoints at once:", where),
		run(f.start()), text("%s", secondTerminal), run(append(lines, "waybill doctor")...),
	}}
}

func (f Facts) noisy() Section {
	t, in := f.Tenant, f.Installation
	s := Section{Title: "This tenant is noisy"}
	parts := []Part{text("Whether it is this tenant, by its sessions in the database server: how many there are, what they do, and for how long.")}
	look := fmt.Sprintf("SELECT state, wait_event_type, count(*), max(now() - query_start) AS longest FROM pg_stat_activity WHERE datname = '%s' GROUP BY 1, 2 ORDER BY 3 DESC", t.Database)
	if f.Environment.Server.Embedded {
		parts = append(parts, text("Nobody but Waybill logs in to the server that `waybill up` runs. What its log says, and what the pool takes:"),
			run(command("tail", "-n", "50", path.Join(in.Data, "postgres-tenants", "server.log")), "docker stats --no-stream"))
	} else {
		parts = append(parts, run(f.Environment.Server.adminURL(), psql(look), "docker stats --no-stream"))
	}
	parts = append(parts, text("A brake: `limits: {connections: 10}` in the tenant's document of the estate. Within a minute new sessions beyond it are refused, and people of **this tenant** see errors. "+
		"If the others must be spared at once, whatever it costs this one, nobody is let through to it until it is resumed; its data is kept:"),
		run(command("waybill", "tenant", "suspend", f.ref()), command("waybill", "tenant", "resume", f.ref())))
	if t.Hosting == "shared" && t.With > 0 {
		parts = append(parts, text("It shares pool %s with %d others, which wait behind it. For good, give it pools of its own; its requests wait for some seconds, and nobody has to log in again:", or(t.Pool, "–"), t.With),
			run(command("waybill", "tenant", "move", f.ref(), "--to", "dedicated")))
	}
	s.Parts = parts
	return s
}
