package cli

import (
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/waybill-dev/waybill/internal/checkpoint"
	"github.com/waybill-dev/waybill/internal/filestore"
)

// recover is the way back when nothing is left but the bucket and a key.
func (a *app) recover() *cobra.Command {
	var bucket, key, database, owner, place string
	cmd := &cobra.Command{
		Use:   "recover ENVIRONMENT/TENANT [CHECKPOINT]",
		Short: "Restore from the bucket and a key alone, without a server",
		Long: `Restore a checkpoint (default: the newest) into a new database, from the bucket and a key
alone: no Waybill server, none of its databases. The connection to PostgreSQL comes from
WAYBILL_ADMIN_URL (it holds a password, so not from the command line). Without --database,
the tenant's checkpoints are listed.`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) < 1 || len(args) > 2 {
				return usagef("waybill recover: expected ENVIRONMENT/TENANT and perhaps CHECKPOINT")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			environment, tenant, err := tenantRef(args[0])
			if err != nil {
				return err
			}
			if bucket == "" || key == "" {
				return usagef("recover needs --bucket and --key")
			}
			s, err := checkpoint.OpenStore(cmd.Context(), bucket, key)
			if err != nil {
				return err
			}
			defer func() { _ = s.Close() }()
			found, err := s.List(cmd.Context(), environment, tenant)
			if err != nil {
				return err
			}
			if len(found) == 0 {
				return fmt.Errorf("the bucket holds no checkpoint of %s", args[0])
			}
			if database == "" {
				return a.print(found, func(w io.Writer) {
					for _, c := range found {
						fmt.Fprintf(w, "%s  %s\n", c.ID, c.RecoveryPoint.Local().Format(time.DateTime))
					}
				})
			}
			ref := checkpoint.Ref{Environment: environment, Tenant: tenant, ID: found[0].ID}
			if len(args) == 2 {
				ref.ID = args[1]
			}
			admin := os.Getenv("WAYBILL_ADMIN_URL")
			if admin == "" || owner == "" || place == "" {
				return usagef("recover into a database needs WAYBILL_ADMIN_URL, --owner and --filestore")
			}
			files, closing, err := filestore.At(cmd.Context(), place)
			if err != nil {
				return fmt.Errorf("the place for the filestore: %w", err)
			}
			defer func() { _ = closing() }()
			started := time.Now()
			_, err = s.Restore(cmd.Context(), ref, checkpoint.Target{AdminURL: admin, Database: database, Owner: owner, Filestore: files}, nil)
			if err != nil {
				return err
			}
			seconds := time.Since(started).Seconds()
			return a.print(map[string]any{"checkpoint": ref.ID, "database": database, "seconds": seconds}, func(w io.Writer) {
				fmt.Fprintf(w, "restored %s into database %s in %.1f s; every table has the rows that the manifest names\n", ref.ID, database, seconds)
			})
		},
	}
	cmd.Flags().StringVar(&bucket, "bucket", "", "file:///… or s3://…")
	cmd.Flags().StringVar(&key, "key", "", "file with an age identity: the machine's key or the offline one")
	cmd.Flags().StringVar(&database, "database", "", "new database to restore into")
	cmd.Flags().StringVar(&owner, "owner", "", "role that shall own it")
	cmd.Flags().StringVar(&place, "filestore", "", "folder for the filestore of that database, or a bucket: s3://…&prefix=ENVIRONMENT/GROUP/DATABASE/")
	return cmd
}
