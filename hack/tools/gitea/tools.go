//go:build tools

// Package gitea pins a forge that a test opens pull requests at: somebody else's, a process of its own. It is a module
// of its own, so that nothing else is built at another version because of it. What it replaces is what Gitea itself does.
package gitea

import _ "code.gitea.io/gitea"
