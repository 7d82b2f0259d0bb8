// Package database looks after the tenants' databases as PostgreSQL objects: who owns them, who
// may connect, how one is swapped for another. It knows nothing of Odoo's tables.
//
// Objects belong to an owner role without login. Each pool logs in with a role of its own that is a
// member of the owner and acts as it (ALTER ROLE … SET role). The right to CONNECT is never the
// owner's nor everybody's, only single logins': taking it away is the fence.
package database
