//go:build tools

// Package traefik pins the Traefik that make cluster starts, apart from everything else.
package traefik

import _ "github.com/traefik/traefik/v3/cmd/traefik"
