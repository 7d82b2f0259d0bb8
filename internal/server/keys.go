package server

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/waybill-dev/waybill/internal/keys"
)

// KeyFolder is where a data folder has its keys. Servers on one database have the same keys there.
func KeyFolder(data string) string { return filepath.Join(data, "keys") }

// offlineKeyFile is where the second key lies until somebody takes it off the machine.
func offlineKeyFile(data string) string {
	return filepath.Join(data, "OFFLINE-KEY-take-me-off-this-machine.txt")
}

// makeKeys opens the keys of a data folder and makes those that are missing, without a server. The second key, which opens checkpoints
// when nothing else is left, is written beside the folder of keys, once; whoever runs Waybill takes it off the machine.
func makeKeys(data string, log *slog.Logger) (*keys.Keys, error) {
	k, err := keys.Open(KeyFolder(data))
	if err != nil {
		return nil, err
	}
	if err := keys.MakeSigning(KeyFolder(data)); err != nil {
		return nil, err
	}
	identity, fresh := k.NewOfflineIdentity()
	if !fresh {
		return k, nil
	}
	path := offlineKeyFile(data)
	if err := os.WriteFile(path, []byte(identity+"\n"), 0o600); err != nil {
		return nil, err
	}
	log.Warn("checkpoints can also be opened with an offline key; move it off this machine", "file", path)
	return k, nil
}

// CreateKeys makes all keys of a data folder before there is a server, and says where the offline key lies. Keys that are there stay as
// they are; offline is empty where that key was made before and taken away.
func CreateKeys(data string) (offline string, err error) {
	if data, err = filepath.Abs(data); err != nil {
		return "", err
	}
	if err := os.MkdirAll(data, 0o711); err != nil {
		return "", fmt.Errorf("make the data folder: %w", err)
	}
	if _, err := makeKeys(data, slog.New(slog.DiscardHandler)); err != nil {
		return "", err
	}
	offline = offlineKeyFile(data)
	if _, err := os.Stat(offline); errors.Is(err, fs.ErrNotExist) {
		return "", nil
	} else if err != nil {
		return "", err
	}
	return offline, nil
}
