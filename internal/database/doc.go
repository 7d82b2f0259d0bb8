// Package database looks after the tenants' databases as PostgreSQL objects: who owns them, who
// may connect, how one is swapped for another. It knows nothing of Odoo's tables.
package database
