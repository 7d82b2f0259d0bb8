package cli

import (
	"context"
	"net/url"
	"strings"

	"github.com/waybill-dev/waybill/internal/build"
	"github.com/waybill-dev/waybill/internal/release"
)

// findRelease finds a release by what a person calls it: to the server, a name, a digest or the start
// of one; in another registry, NAME:TAG or NAME@DIGEST. It returns what the registry calls it.
func (a *app) findRelease(ctx context.Context, ref, registry string) (release.Release, string, build.Registry, error) {
	images, err := a.registry(registry)
	if err != nil {
		return release.Release{}, "", images, err
	}
	if registry != "" {
		if !strings.ContainsAny(ref, ":@") {
			return release.Release{}, "", images, usagef("release %q in registry %s: expected NAME:TAG or NAME@sha256:…, for example acme:%s", ref, registry, ref)
		}
		opened, err := build.OpenRelease(ctx, ref, images)
		if err != nil {
			return release.Release{}, "", images, err
		}
		return opened.Release, opened.Release.Repository + "@" + opened.Release.Digest, images, nil
	}
	if _, digest, ok := strings.Cut(ref, "@"); ok {
		ref = digest
	}
	var found release.Release
	if err := a.call(ctx, "GET", "/api/v1/releases/"+url.PathEscape(ref), nil, &found); err != nil {
		return found, "", images, err
	}
	return found, found.Repository + "@" + found.Digest, images, nil
}
