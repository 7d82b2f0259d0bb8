package api

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/internal/impact"
)

func TestImpact(t *testing.T) {
	b := setup(t)
	x := b.made("somebody", t.Name())
	ask := func(query string) answer { return b.ask("the-owner's", "GET", "/api/v1/impact?"+query, nil) }
	var found impact.Assessment
	ask("environment=production&tenant=acme&release="+x.release).into(t, &found)
	require.Equal(t, x.release, found.Release)
	require.Len(t, found.Tenants, 1)
	require.Equal(t, "nobody says where its database is", found.Tenants[0].Unknown)
	require.Contains(t, found.Refusals[0], "no such image")
	signed := b.ask("the-owner's", "GET", "/api/v1/impact/statement?environment=production&release="+x.release, nil)
	require.Equal(t, http.StatusOK, signed.status, signed.text)
	require.Contains(t, signed.text, "dsseEnvelope")
	for query, says := range map[string]string{
		"environment=production&release=r9":                            "no release is known as",
		"environment=moon&release=" + x.release:                        "the estate has no environment",
		"environment=production&tenant=acme,bolt&release=" + x.release: "the estate has no tenant acme, bolt",
		"environment=production":                                       "release",
	} {
		refused := ask(query)
		require.Equal(t, http.StatusUnprocessableEntity, refused.status, refused.text)
		require.Contains(t, refused.text, says)
	}
}
