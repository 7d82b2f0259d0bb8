package promotion

import "github.com/waybill-dev/waybill/internal/filestore"

// OwnerRole is the role that the databases of a group's tenants belong to.
func OwnerRole(environment, group string) string { return ownerRole(environment, group) }

// Filestore is where a database's files are.
func (p Place) Filestore(environment, group, database string) filestore.Store {
	return p.Runtime.Filestore(environment, group, database)
}
