//go:build odoo

package bridge

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestIsolationDoors: what a pool tries from inside, where two databases are on its list and a third is not. All of them have one
// role here, so that the walls between them are the bridge's own.
func TestIsolationDoors(t *testing.T) {
	b := setup(t)
	one := b.database(t)
	two, three := one+"_two", one+"_three"
	for _, name := range []string{two, three} {
		b.sql(t, "postgres", fmt.Sprintf("CREATE DATABASE %q OWNER odoo TEMPLATE %s", name, template))
		t.Cleanup(func() { b.drop(name) })
	}
	const a, bb = "a.example", "b.example"
	p := b.pool(t, "v1", "web", PoolConfig{Generation: 1, Tenants: []PoolTenant{tenant(one, a), tenant(two, bb)}})
	try := func(door, target string) IsolationResult {
		results, err := p.client.Isolation(t.Context(), one, []IsolationAttempt{{Door: door, Target: target}})
		require.NoError(t, err)
		return results[0]
	}
	for _, test := range []struct {
		door, target string
		want         Reach
	}{
		{DoorConnect, one, Reached},
		{DoorConnect, three, Reached}, // one role owns all of them here: nothing but the bridge is between
		{DoorConnect, "no_such_database", Unknown},
		{DoorCursor, one, Reached},
		{DoorCursor, two, Refused},
		{DoorCursor, three, Refused},
		{DoorRegistry, one, Reached},
		{DoorRegistry, two, Refused},
		{DoorRegistry, three, Refused},
		{DoorRole, "odoo", Reached},
		{DoorRole, "pg_read_all_data", Refused},
		{DoorFolder, "/etc", Reached},
		{DoorFolder, "/no/such/folder", Refused},
	} {
		got := try(test.door, test.target)
		assert.Equal(t, test.want, got.Outcome, "%s %s: %s", test.door, test.target, got.Detail)
	}

	before := b.digest(t, one)
	made := try(DoorSession, "")
	require.Equal(t, Reached, made.Outcome, made.Detail)
	check := func(host, sid string) string {
		_, failed, _ := p.rpc(t, host, "/web/session/check", sid, map[string]any{})
		return failed
	}
	assert.Empty(t, check(a, made.Detail), "it is a session of its own tenant")
	assert.Equal(t, before, b.digest(t, one), "and nothing is written into the database")
	assert.NotEmpty(t, check(bb, made.Detail), "but nobody's at another host")

	again := try(DoorSession, "")
	require.Empty(t, check(a, again.Detail))
	try(DoorForget, again.Detail)
	assert.NotEmpty(t, check(a, again.Detail), "it was ended")

	served := func(host, path string, headers ...string) (string, bool) {
		answer := p.do(t, "GET", host, path, "", nil, append(headers, SignatureHeader, Witness(testKey, time.Now(), "GET", path))...)
		values, there := answer.header[ServedHeader]
		if !there {
			return "", false
		}
		return values[0], true
	}
	database, told := served(a, "/web/login")
	assert.True(t, told)
	assert.Equal(t, one, database)
	database, _ = served(bb, "/web/login")
	assert.Equal(t, two, database)
	database, _ = served(a, "/web/login?db="+two)
	assert.Equal(t, one, database)
	_, told = served("c.example", "/web/login")
	assert.False(t, told, "nothing is served there")
	answer := p.do(t, "GET", a, "/web/login", "", nil, SignatureHeader, Witness(testKey, time.Now(), "GET", "/web"))
	assert.NotContains(t, answer.header, ServedHeader, "signed for another path")
	answer = p.do(t, "GET", a, "/web/login", "", nil)
	assert.NotContains(t, answer.header, ServedHeader, "nobody asked with a signature")
}
