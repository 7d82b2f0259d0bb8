//go:build odoo

package bridge

import (
	"encoding/json"
	"encoding/xml"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// views is the answer to get_views, as far as it matters here.
type views struct {
	Views  map[string]struct{ Arch string } `json:"views"`
	Models map[string]struct {
		Fields map[string]struct {
			Relation string `json:"relation"`
		} `json:"fields"`
	} `json:"models"`
}

// undescribed returns the fields that an arch names and the answer does not describe: what breaks the browser.
func (v views) undescribed(t *testing.T, arch, model string) []string {
	t.Helper()
	var missing []string
	decoder := xml.NewDecoder(strings.NewReader(arch))
	models := []string{model}
	for {
		token, err := decoder.Token()
		if err == io.EOF {
			return missing
		}
		require.NoError(t, err)
		switch element := token.(type) {
		case xml.StartElement:
			current := models[len(models)-1]
			next := current
			if element.Name.Local == "field" {
				for _, attribute := range element.Attr {
					if attribute.Name.Local == "name" {
						field, ok := v.Models[current].Fields[attribute.Value]
						if !ok {
							missing = append(missing, current+"."+attribute.Value)
						}
						if field.Relation != "" {
							next = field.Relation
						}
					}
				}
			}
			models = append(models, next)
		case xml.EndElement:
			models = models[:len(models)-1]
		}
	}
}

// TestPruneViews: the old release on a database whose views the new one has written.
func TestPruneViews(t *testing.T) {
	b := setup(t)
	db := b.database(t)
	const host = "a.example"
	mine := tenant(db, host)
	config := PoolConfig{Generation: 1, Tenants: []PoolTenant{mine}}
	p := b.pool(t, "v1", "web", config)
	session := p.login(t, host, db) // its registry is loaded before the update
	get := func() (views, string) {
		raw := p.call(t, host, session, "sale.order", "get_views",
			[]any{[]any{[]any{false, "form"}, []any{false, "list"}, []any{false, "search"}, []any{false, "kanban"}}}, map[string]any{"options": map[string]any{"toolbar": true}})
		var v views
		require.NoError(t, json.Unmarshal(raw, &v))
		return v, string(raw)
	}
	archID := string(p.call(t, host, session, "ir.ui.view", "search", []any{[]any{[]any{"name", "=", "wbt.order.form"}}}, nil))
	p.call(t, host, session, "ir.ui.view", "create", []any{map[string]any{
		"name": "a user's own", "model": "sale.order", "inherit_id": json.RawMessage(strings.Trim(archID, "[]")),
		"arch": `<field name="wbt_note" position="after"><field name="origin" string="Mine"/></field>`,
	}}, nil)
	before, _ := get()
	require.Contains(t, before.Views["form"].Arch, `string="Mine"`)

	b.runs(t, "v2", b.update(db), ExitCommitted)
	unpruned, raw := get()
	require.Contains(t, raw, "wbt_lane", "without pruning the views should name the new field, else this test proves nothing")
	require.NotEmpty(t, unpruned.undescribed(t, unpruned.Views["form"].Arch, "sale.order"))

	config.Generation, config.Tenants[0].PruneViews = 2, true
	p.configure(t, config)
	pruned, _ := get()
	for kind, view := range pruned.Views {
		assert.Empty(t, pruned.undescribed(t, view.Arch, "sale.order"), kind)
		for _, foreign := range []string{"wbt_lane", "wbt_line_lane", "action_wbt_new", "wbt_south"} {
			assert.NotRegexp(t, regexp.MustCompile(`\b`+foreign+`\b`), view.Arch, kind)
		}
	}
	assert.Contains(t, pruned.Views["form"].Arch, `name="wbt_note"`)
	assert.Contains(t, pruned.Views["form"].Arch, `string="Mine"`, "a user's own view was lost")
	strip := func(arch string) string { return regexp.MustCompile(`\s+`).ReplaceAllString(arch, "") }
	assert.Equal(t, strip(before.Views["form"].Arch), strip(pruned.Views["form"].Arch), "nothing but the foreign nodes may go")
	assert.Equal(t, strip(before.Views["search"].Arch), strip(pruned.Views["search"].Arch))

	// The old pool goes on working: its users write views, see menus, place and ship orders.
	p.call(t, host, session, "ir.ui.view", "create", []any{map[string]any{
		"name": "another", "model": "sale.order", "inherit_id": json.RawMessage(strings.Trim(archID, "[]")),
		"arch": `<field name="wbt_note" position="after"><field name="client_order_ref" string="Also mine"/></field>`,
	}}, nil)
	menus := p.do(t, "GET", host, "/web/webclient/load_menus", session, nil)
	assert.Equal(t, 200, menus.status)
	assert.NotContains(t, menus.body, `"name": "Lanes"`, "a menu to a model that this release lacks")
	for name, flow := range p.flows(t, db) {
		if name == "batch" || name == "pos" { // their modules are not installed here
			assert.Equal(t, FlowNotApplicable, flow.Outcome, name)
			continue
		}
		assert.Equal(t, FlowPassed, flow.Outcome, "%s: %s\n%s", name, flow.Error, flow.Trace)
	}
	answer := p.ready(t, db)
	assert.True(t, answer.Ready, answer.Reason)
	_, failed, _ := p.rpc(t, host, "/web/dataset/call_kw/ir.ui.view/create", session, map[string]any{
		"model": "ir.ui.view", "method": "create", "kwargs": map[string]any{}, "args": []any{map[string]any{
			"name": "wrong", "model": "sale.order", "inherit_id": json.RawMessage(strings.Trim(archID, "[]")),
			"arch": `<field name="wbt_note" position="after"><field name="no_such_field"/></field>`,
		}},
	})
	assert.Contains(t, failed, "no_such_field", "an author's mistake must not be pruned away")
}

func TestKeepAssets(t *testing.T) {
	b := setup(t)
	const other = "/web/assets/0000000/web.assets_frontend.min.css"
	for _, keep := range []bool{true, false} {
		t.Run(map[bool]string{true: "kept", false: "stock"}[keep], func(t *testing.T) {
			db := b.database(t)
			b.sql(t, db, `INSERT INTO ir_attachment (name, url, type, public, res_model, res_id, create_uid, mimetype)
				VALUES ('web.assets_frontend.min.css', $1, 'binary', true, 'ir.ui.view', 0, 1, 'text/css')`, other)
			p := b.pool(t, "v1", "web", PoolConfig{Generation: 1, KeepAssets: keep, Tenants: []PoolTenant{tenant(db, "a.example")}})
			page := p.do(t, "GET", "a.example", "/web/login", "", nil)
			require.Equal(t, 200, page.status)
			bundle := regexp.MustCompile(`/web/assets/[0-9a-f]+/web\.assets_frontend\.min\.css`).FindString(page.body)
			require.NotEmpty(t, bundle)
			require.Equal(t, 200, p.do(t, "GET", "a.example", bundle, "", nil).status)
			left := b.text(t, db, "SELECT count(*) FROM ir_attachment WHERE url = $1", other)
			assert.Equal(t, map[bool]string{true: "1", false: "0"}[keep], left)
		})
	}
}

func TestGCHold(t *testing.T) {
	b := setup(t)
	db := b.database(t)
	mine := tenant(db, "a.example")
	mine.GCHold = true
	config := PoolConfig{Generation: 1, Tenants: []PoolTenant{mine}}
	p := b.pool(t, "v1", "web", config)
	session := p.login(t, "a.example", db)
	store := filepath.Join(b.dir, "data", "filestore", db)
	orphan := filepath.Join(store, "aa", "aa00000000000000000000000000000000000000")
	for _, file := range []string{orphan, filepath.Join(store, "checklist", "aa", filepath.Base(orphan))} {
		for dir := filepath.Dir(file); len(dir) >= len(store); dir = filepath.Dir(dir) {
			require.NoError(t, os.MkdirAll(dir, 0o755))
			require.NoError(t, os.Chown(dir, odooUser, odooUser))
		}
		require.NoError(t, os.WriteFile(file, []byte("x"), 0o644))
		require.NoError(t, os.Chown(file, odooUser, odooUser))
	}
	job := b.text(t, db, "SELECT res_id FROM ir_model_data WHERE module = 'base' AND name = 'autovacuum_job'")
	collect := func() {
		p.call(t, "a.example", session, "ir.cron", "method_direct_trigger", []any{[]json.RawMessage{json.RawMessage(job)}}, nil)
	}
	collect()
	assert.FileExists(t, orphan)
	config.Generation, config.Tenants[0].GCHold = 2, false
	p.configure(t, config)
	collect()
	assert.NoFileExists(t, orphan, "the collection did not run at all: this test proves nothing")
}
