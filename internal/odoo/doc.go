// Package odoo holds all that is particular to Odoo: manifests, the module graph, checksums, what
// an update must do, what a database says about itself, and the configuration file. It is the only
// package that knows a table, a model or a flag of Odoo. It never runs Python to read Python.
package odoo
