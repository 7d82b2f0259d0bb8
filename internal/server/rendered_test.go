package server

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/internal/estate"
)

func TestNothingIsRenderedForDocker(t *testing.T) {
	_, err := (&server{}).follow(t.Context(), &estate.Repository{Remote: t.TempDir(), Rendered: true})
	require.ErrorContains(t, err, "rendered: true, and this server runs pools with Docker")
}
