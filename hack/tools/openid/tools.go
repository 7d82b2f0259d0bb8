//go:build tools

// Package openid pins an OpenID provider that a test logs in at: somebody else's, a process of its own. It is a module
// of its own, so that nothing else is built at another version because of it.
package openid

import _ "github.com/zitadel/oidc/v3/example/server"
