package cli

import (
	"context"
	"strings"
	"time"

	"github.com/waybill-dev/waybill/internal/attest"
	"github.com/waybill-dev/waybill/internal/build"
)

// scannerURI names this scanner in what it signs.
const scannerURI = "https://github.com/waybill-dev/waybill/blob/main/docs/vulnerabilities.md"

// attachScan signs what a scan found, whatever that is, and attaches it to the image.
func (a *app) attachScan(ctx context.Context, ref string, images build.Registry, found scanned, databases []string, by *signing, started time.Time) error {
	place, auth, err := images.Locate(ref)
	if err != nil {
		return err
	}
	image, err := attest.Open(ctx, place, auth, images.Transport)
	if err != nil {
		return err
	}
	_, err = image.Attest(ctx, attest.Scan{
		Scanner: scannerURI, Version: version, Database: strings.Join(databases, " "), DatabaseVersion: found.Databases.Fingerprint,
		Started: started, Finished: time.Now(), Result: found,
	}.Claim(), by.signer)
	return err
}
