package cli

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"time"

	"github.com/spf13/cobra"

	"github.com/waybill-dev/waybill/internal/attest"
	"github.com/waybill-dev/waybill/internal/keys"
	"github.com/waybill-dev/waybill/internal/server"
)

// overlap is how long a replaced key still counts where nobody says otherwise.
const overlap = 90 * 24 * time.Hour

// shownKey is one public key as it is printed.
type shownKey struct {
	ID        string    `json:"id"`
	Signs     bool      `json:"signs"` // new releases are signed with it
	NotAfter  time.Time `json:"not_after,omitzero"`
	PublicKey string    `json:"public_key"`
}

func (a *app) key() *cobra.Command {
	cmd := &cobra.Command{Use: "key", Short: "The keys of this installation, and those that releases are signed with"}
	cmd.AddCommand(a.keyCreate(), a.keyShow(), a.keyNew(), a.keyRotate())
	return cmd
}

func (a *app) keyFolder() string { return server.KeyFolder(a.data) }

// ownKeys are the keys of the data folder.
func (a *app) ownKeys() ([]keys.VerifyingKey, error) {
	own, err := keys.SigningKeys(a.keyFolder())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, usagef("the data folder %s has no signing key. waybill up makes one; name another folder with --data, or a key with --key", a.data)
	}
	return own, err
}

func (a *app) keyCreate() *cobra.Command {
	return &cobra.Command{
		Use: "create", Short: "Make all keys of an installation before its first server starts", Args: exactly(),
		Long: `Make all keys of an installation in the folder keys of --data, before its first server starts: where several
servers work on one database they need the same keys, and none may make its own. Keys that are there already stay
as they are. The offline key is written beside that folder: keep it elsewhere. On Kubernetes the folder becomes a
Secret: kubectl create secret generic waybill-keys --from-file=DATA/keys`,
		RunE: func(*cobra.Command, []string) error {
			offline, err := server.CreateKeys(a.data)
			if err != nil {
				return err
			}
			return a.print(map[string]string{"keys": a.keyFolder(), "offline": offline}, func(w io.Writer) {
				fmt.Fprintf(w, "%s has all keys: give it to every server on one database, and to nobody else\n", a.keyFolder())
				if offline != "" {
					fmt.Fprintf(w, "%s opens every checkpoint when nothing else is left: keep it where no server is\n", offline)
				}
			})
		},
	}
}

func (a *app) keyShow() *cobra.Command {
	return &cobra.Command{
		Use: "show", Short: "Show the public keys of this installation", Args: exactly(),
		Long: `Show the public keys of this installation: the one that signs, as PEM for the estate (kind: Trust)
or for cosign verify-attestation --key, and those that were replaced and still count.`,
		RunE: func(*cobra.Command, []string) error {
			own, err := a.ownKeys()
			if err != nil {
				return err
			}
			return a.printKeys(own)
		},
	}
}

func (a *app) printKeys(own []keys.VerifyingKey) error {
	var list []shownKey
	for i, k := range own {
		id, err := attest.KeyID(k.Public)
		if err != nil {
			return err
		}
		text, err := attest.FormatPublicKey(k.Public)
		if err != nil {
			return err
		}
		list = append(list, shownKey{ID: id, Signs: i == 0, NotAfter: k.NotAfter, PublicKey: string(text)})
	}
	return a.print(list, func(w io.Writer) {
		for _, k := range list {
			fmt.Fprintf(w, "# key %s, %s\n%s", k.ID, k.describe(), k.PublicKey)
		}
	})
}

func (k shownKey) describe() string {
	switch {
	case k.Signs:
		return "signs"
	case time.Now().Before(k.NotAfter):
		return "was replaced, counts until " + k.NotAfter.Format(time.RFC3339)
	}
	return "was replaced, counted until " + k.NotAfter.Format(time.RFC3339)
}

func (a *app) keyNew() *cobra.Command {
	return &cobra.Command{
		Use: "new FILE", Short: "Make a key for another machine that builds", Args: exactly("FILE"),
		Long: `Make a key for another machine that builds, such as a CI runner: FILE with the private key, for
waybill build --key FILE, and FILE.pub, for the estate (kind: Trust).`,
		RunE: func(_ *cobra.Command, args []string) error {
			public, err := keys.NewSigningKey(args[0])
			if err != nil {
				return err
			}
			id, err := attest.KeyID(public)
			if err != nil {
				return err
			}
			return a.print(map[string]string{"id": id, "private": args[0], "public": args[0] + ".pub"}, func(w io.Writer) {
				fmt.Fprintf(w, "key %s\n%s signs: keep it secret\n%s.pub verifies: name it in the estate (kind: Trust)\n", id, args[0], args[0])
			})
		},
	}
}

func (a *app) keyRotate() *cobra.Command {
	var keep time.Duration
	cmd := &cobra.Command{
		Use: "rotate", Short: "Replace the key of this installation by a new one", Args: exactly(),
		Long: `Replace the key of this installation by a new one. From now on releases are signed with the new
one; what the old one signed counts until --overlap has passed. The old private key is removed.
A release that shall be promoted after that is built again: the same digest, signed anew. With a
Trust in the estate that names keys, add the new one there first. Safe while the server runs.`,
		RunE: func(*cobra.Command, []string) error {
			if keep < 0 || keep > 10*365*24*time.Hour {
				return usagef("--overlap %s: expected up to ten years", keep)
			}
			if _, err := a.ownKeys(); err != nil {
				return err
			}
			if err := keys.RotateSigning(a.keyFolder(), time.Now().Add(keep)); err != nil {
				return err
			}
			own, err := a.ownKeys()
			if err != nil {
				return err
			}
			return a.printKeys(own)
		},
	}
	cmd.Flags().DurationVar(&keep, "overlap", overlap, "how long the old key still counts")
	return cmd
}
