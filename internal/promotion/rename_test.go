package promotion

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/internal/long"
	"github.com/waybill-dev/waybill/internal/store"
)

func (y *yard) rename(hosts ...string) store.Rollout {
	y.t.Helper()
	id, err := y.engine.RenameTenant(y.t.Context(), y.declared, "rotation", "acme", hosts, "bob")
	require.NoError(y.t, err)
	return y.ended(id)
}

// newMailer is a house whose acme sends links.
func newMailer(t *testing.T) *yard {
	y := newHouse(t)
	y.run("rotated", "create table ir_config_parameter (key varchar, value text); insert into ir_config_parameter values ('web.base.url', 'http://acme.example')")
	return y
}

func (y *yard) reached(want map[string]int) {
	y.t.Helper()
	for host, status := range want {
		got, text := y.answer(host)
		require.Equal(y.t, status, got, "%s: %s", host, text)
	}
}

func TestRename(t *testing.T) {
	long.Test(t)
	y := newMailer(t)
	const nobody = 404
	r := y.rename("east.example", "acme.example") // both for a while
	require.Equal(t, store.Promoted, r.Outcome, r.Reason)
	require.Equal(t, `["east.example","acme.example"]`, y.book.written["acme hosts"])
	y.reached(map[string]int{"east.example": 200, "acme.example": 200, "bolt.example": 200})
	var url string
	y.ask("rotated", "select value from ir_config_parameter", &url)
	require.Equal(t, "http://east.example", url)

	y.declared.Tenants[0].Hosts = []string{"east.example", "acme.example"}
	twice(t, KindRename)
	r = y.rename("west.example")
	require.Equal(t, store.Promoted, r.Outcome, r.Reason)
	y.reached(map[string]int{"west.example": 200, "east.example": nobody, "acme.example": nobody, "bolt.example": 200})
	y.ask("rotated", "select value from ir_config_parameter", &url)
	require.Equal(t, "http://west.example", url)
}

func TestARenameThatFails(t *testing.T) {
	long.Test(t)
	y := newMailer(t)
	steps := procedures[KindRename]
	t.Cleanup(func() { procedures[KindRename] = steps })
	changed := slices.Clone(steps)
	last := len(steps) - 1
	changed[last].Do = func(ctx context.Context, w *Work) (string, error) {
		if _, err := steps[last].Do(ctx, w); err != nil {
			return "", err
		}
		return "", failed("the lights went out")
	}
	procedures[KindRename] = changed
	r := y.rename("east.example")
	require.Equal(t, store.RolledBack, r.Outcome)
	y.reached(map[string]int{"acme.example": 200, "east.example": 404})
	var url string
	y.ask("rotated", "select value from ir_config_parameter", &url)
	require.Equal(t, "http://acme.example", url)
	require.Equal(t, `["acme.example"]`, y.book.written["acme hosts"])
}

func TestRenamesThatMakeNoSense(t *testing.T) {
	long.Test(t)
	y := newMailer(t)
	for name, c := range map[string]struct {
		tenant string
		hosts  []string
		says   string
	}{
		"nobody":  {"zulu", []string{"east.example"}, "no tenant zulu"},
		"none":    {"acme", nil, "--host"},
		"same":    {"acme", []string{"acme.example"}, "already"},
		"another": {"acme", []string{"bolt.example"}, "leads to bolt"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := y.engine.RenameTenant(t.Context(), y.declared, "rotation", c.tenant, c.hosts, "bob")
			require.ErrorIs(t, err, ErrBadRequest)
			require.ErrorContains(t, err, c.says)
		})
	}
	y.book.refuses = errors.New("hosts[0]: is no host name")
	_, err := y.engine.RenameTenant(t.Context(), y.declared, "rotation", "acme", []string{"East"}, "bob")
	require.ErrorContains(t, err, "nothing was touched")
	require.Empty(t, y.book.written)
}
