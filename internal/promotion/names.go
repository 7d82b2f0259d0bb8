package promotion

import "path/filepath"

// OwnerRole is the role that the databases of a group's tenants belong to.
func OwnerRole(environment, group string) string { return ownerRole(environment, group) }

// Filestore is the folder on this machine where a database's files are.
func (p Place) Filestore(environment, group, database string) string {
	return filepath.Join(p.Runtime.DataDir(environment, group), "filestore", database)
}
