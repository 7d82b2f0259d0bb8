package identity

import (
	"fmt"
	"strings"

	"github.com/waybill-dev/waybill/internal/estate"
)

//go:generate go run ./gen -out ../../docs/roles.md

// Document is docs/roles.md: the table for people.
func Document() string {
	var b strings.Builder
	b.WriteString(`# Who may do what

This page is made from the table in the code (` + "`internal/identity/operations.go`" + `); a test asks the API for
every operation in every role. How people get roles is in [access](access.md).

- **yes**: with what is one's own and with what is another's.
- **own**: only with what is one's own. A promotion is one's own where one has asked for it, or has made its
  release: the commit's author or committer, or whoever made the release known to the server. A rehearsal and a token
  are one's own where one has asked for it, or uses it.
- **others'**: only with what is not one's own: this is what separates duties. It holds for an admin too.
- Where it must hold: *here* in the environment that it is about, *any* in any environment, *all* in all environments.
  *Open* is what anybody may, without login.

| operation | what it is | where |`)
	for _, role := range estate.Roles {
		fmt.Fprintf(&b, " %s |", role)
	}
	b.WriteString("\n|---|---|---|")
	for range estate.Roles {
		b.WriteString("---|")
	}
	b.WriteString("\n")
	reach := map[Reach]string{Open: "open", Here: "here", Anywhere: "any", Everywhere: "all"}
	for _, r := range rules {
		fmt.Fprintf(&b, "| `%s` | %s | %s |", r.Operation, r.Does, reach[r.Reach])
		for _, role := range estate.Roles {
			fmt.Fprintf(&b, " %s |", cell(r.May(role, false), r.May(role, true)))
		}
		b.WriteString("\n")
	}
	b.WriteString(`
Whoever holds the data folder's own token (` + "`keys/token`" + `) is ` + "`local:USER`" + `: admin in all environments. What is not in
this table, nobody may do.
`)
	return b.String()
}

func cell(others, own bool) string {
	switch {
	case others && own:
		return "yes"
	case own:
		return "own"
	case others:
		return "others'"
	}
	return "–"
}
