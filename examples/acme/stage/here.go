package stage

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// Here fills in options for a test on this machine: the binary built from this tree, a fresh
// folder, the base image of WAYBILL_BASE or else the newest in the cache, and the cache itself
// (WAYBILL_CACHE, or waybill/ in the user's cache folder). name becomes part of the folder's name.
func Here(ctx context.Context, name string) (o Options, err error) {
	cache := os.Getenv("WAYBILL_CACHE")
	if cache == "" {
		user, err := os.UserCacheDir()
		if err != nil {
			return o, err
		}
		cache = filepath.Join(user, "waybill")
	}
	o.Cache = filepath.Join(cache, "stage")
	if o.Base = os.Getenv("WAYBILL_BASE"); o.Base == "" {
		if o.Base, err = newestBase(cache); err != nil {
			return o, err
		}
	}
	if o.Folder, err = os.MkdirTemp("", "wb-"+name+"-"); err != nil {
		return o, err
	}
	o.Binary = filepath.Join(o.Folder, "..", filepath.Base(o.Folder)+".waybill") // beside it: the folder must be fresh
	module, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}").Output()
	if err != nil {
		return o, fmt.Errorf("find the module's folder: %w", err)
	}
	build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", o.Binary, "./cmd/waybill")
	build.Dir, build.Env = strings.TrimSpace(string(module)), append(os.Environ(), "CGO_ENABLED=0") // it runs in the router's container too
	if out, err := build.CombinedOutput(); err != nil {
		return o, errors.Join(fmt.Errorf("build waybill: %w: %s", err, out), os.RemoveAll(o.Folder))
	}
	return o, nil
}

func newestBase(cache string) (string, error) {
	found, err := filepath.Glob(filepath.Join(cache, "base", "*", "layout", "index.json"))
	if err != nil {
		return "", err
	}
	var newest string
	var at time.Time
	for _, index := range found {
		if info, err := os.Stat(index); err == nil && info.ModTime().After(at) {
			newest, at = filepath.Dir(index), info.ModTime()
		}
	}
	if newest == "" {
		return "", fmt.Errorf("no base image in %s; make it: make base", cache)
	}
	return "oci:" + newest, nil
}
