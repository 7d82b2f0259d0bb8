package odoo

import (
	"context"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha512"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// ErrNoAdmin is returned where a password is to be set and no user has the login admin.
var ErrNoAdmin = errors.New("it has no user with the login admin")

// Identity is what a copy of a database must not share with the one that it was copied from.
type Identity struct {
	URL           string // under which people reach it; mails link there
	AdminPassword string // of the user admin; empty: it stays
}

// adminRounds are those of Odoo 17 and later (odoo/addons/base/models/res_users.py); older ones read them from the hash.
const adminRounds = 600_000

// Renew gives a copy an identity of its own: the secret that sessions and links are signed with (ir.config_parameter
// database.secret), so that none that the original gave out is worth anything here, database.uuid, by which Odoo's services know
// it, and its address; API keys and remembered devices of the original's users are removed.
func Renew(ctx context.Context, db *pgx.Conn, id Identity) error {
	err := pgx.BeginFunc(ctx, db, func(tx pgx.Tx) error {
		for key, value := range map[string]string{
			"database.secret": newUUID(), "database.uuid": newUUID(), "database.create_date": time.Now().UTC().Format(time.DateTime), "web.base.url": id.URL,
		} {
			tag, err := tx.Exec(ctx, "UPDATE ir_config_parameter SET value = $2 WHERE key = $1", key, value)
			if err == nil && tag.RowsAffected() == 0 {
				_, err = tx.Exec(ctx, "INSERT INTO ir_config_parameter (key, value) VALUES ($1, $2)", key, value)
			}
			if err != nil {
				return err
			}
		}
		for _, table := range []string{"res_users_apikeys", "auth_totp_device"} {
			var there bool
			if err := tx.QueryRow(ctx, "SELECT to_regclass($1) IS NOT NULL", "public."+table).Scan(&there); err != nil {
				return err
			}
			if there {
				if _, err := tx.Exec(ctx, "DELETE FROM "+table); err != nil {
					return err
				}
			}
		}
		if id.AdminPassword == "" {
			return nil
		}
		hash, err := passwordHash(id.AdminPassword)
		if err != nil {
			return err
		}
		tag, err := tx.Exec(ctx, "UPDATE res_users SET password = $1 WHERE login = 'admin'", hash)
		if err == nil && tag.RowsAffected() == 0 {
			err = ErrNoAdmin
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("give database %q an identity of its own: %w", db.Config().Database, err)
	}
	return nil
}

// passwordHash is what Odoo stores: passlib's pbkdf2_sha512 (passlib/handlers/pbkdf2.py), whose base64 has . for + and no padding.
func passwordHash(password string) (string, error) {
	salt := make([]byte, 16)
	_, _ = rand.Read(salt)
	sum, err := pbkdf2.Key(sha512.New, password, salt, adminRounds, sha512.Size)
	if err != nil {
		return "", err
	}
	encoded := func(b []byte) string { return strings.ReplaceAll(base64.RawStdEncoding.EncodeToString(b), "+", ".") }
	return fmt.Sprintf("$pbkdf2-sha512$%d$%s$%s", adminRounds, encoded(salt), encoded(sum)), nil
}

// newUUID is a random one (RFC 9562, version 4).
func newUUID() string {
	var b [16]byte
	_, _ = rand.Read(b[:])
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}
