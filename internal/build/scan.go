package build

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gofrs/flock"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/waybill-dev/waybill/internal/odoo"
	"github.com/waybill-dev/waybill/internal/release"
)

// scanVersion is part of the cache's key; it changes when a scan would find something else.
const scanVersion = 2

// lockRetry is how often a lock that another process holds is asked for again.
const lockRetry = 200 * time.Millisecond

// BaseScan is what is in a base image.
type BaseScan struct {
	Series string       `json:"series"` // "19.0"
	Base   release.Base `json:"base"`   // without the reference
}

// ScanBase finds Odoo in an image: its series, version, interpreter, addons paths and modules. It
// reads every layer once (about 20 s for 1.7 GB) and remembers the result by digest under
// cache; "" stands for the user's cache folder.
func ScanBase(ctx context.Context, img v1.Image, cache string) (BaseScan, error) {
	digest, err := img.Digest()
	if err != nil {
		return BaseScan{}, fmt.Errorf("reading the base: %w", err)
	}
	layers, err := img.Layers()
	if err != nil {
		return BaseScan{}, fmt.Errorf("reading the base: %w", err)
	}
	return cachedScan(ctx, digest.String(), layers, odoo.ChecksumRule{}, cache)
}

func cacheDir(given string) (string, error) {
	if given != "" {
		return given, nil
	}
	if dir := os.Getenv("WAYBILL_CACHE"); dir != "" {
		return dir, nil
	}
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("no folder for the cache: %w; set WAYBILL_CACHE", err)
	}
	return filepath.Join(dir, "waybill"), nil
}

func cachedScan(ctx context.Context, digest string, layers []v1.Layer, rule odoo.ChecksumRule, cache string) (BaseScan, error) {
	cache, err := cacheDir(cache)
	if err != nil {
		return BaseScan{}, err
	}
	encoded, err := json.Marshal(rule)
	if err != nil {
		return BaseScan{}, err
	}
	key := sha256.Sum256(fmt.Appendf(nil, "%d\x00%s\x00%s", scanVersion, digest, encoded))
	dir := filepath.Join(cache, "base-scan")
	file := filepath.Join(dir, hex.EncodeToString(key[:12])+".json")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return BaseScan{}, err
	}
	if scan, ok := readScan(file); ok {
		return scan, nil
	}
	lock := flock.New(file + ".lock")
	if _, err := lock.TryLockContext(ctx, lockRetry); err != nil {
		return BaseScan{}, fmt.Errorf("waiting for another run that reads the same base: %w", err)
	}
	defer lock.Unlock()
	if scan, ok := readScan(file); ok {
		return scan, nil
	}
	scan, err := scanLayers(ctx, layers, rule, dir)
	if err != nil {
		return BaseScan{}, err
	}
	scan.Base.Digest = digest
	content, err := json.Marshal(scan)
	if err != nil {
		return BaseScan{}, err
	}
	return scan, writeFile(file, content)
}

// readScan takes an unreadable cache for none.
func readScan(file string) (scan BaseScan, ok bool) {
	content, err := os.ReadFile(file)
	return scan, err == nil && json.Unmarshal(content, &scan) == nil && scan.Series != ""
}

func writeFile(file string, content []byte) error {
	tmp, err := os.CreateTemp(filepath.Dir(file), ".new-*")
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	_, err = tmp.Write(content)
	if err := errors.Join(err, tmp.Close()); err != nil {
		return err
	}
	return os.Rename(tmp.Name(), file)
}

func scanLayers(ctx context.Context, layers []v1.Layer, rule odoo.ChecksumRule, dir string) (BaseScan, error) {
	var outside []string
	for {
		s, err := newScanner(rule, dir, outside)
		if err != nil {
			return BaseScan{}, err
		}
		more, scan, err := s.run(ctx, layers)
		s.close()
		if err != nil || len(more) == 0 {
			return scan, err
		}
		// Modules stand where no folder is called "addons": once more, now knowing where.
		if len(outside) > 0 {
			return BaseScan{}, fmt.Errorf("base: the modules in %s cannot be told apart", few(more))
		}
		outside = more
	}
}

func (s *scanner) run(ctx context.Context, layers []v1.Layer) (outside []string, scan BaseScan, err error) {
	for _, layer := range slices.Backward(layers) { // what is above hides what is below
		if err := s.layer(ctx, layer); err != nil {
			return nil, BaseScan{}, err
		}
	}
	for _, folder := range s.moduleFolders() {
		if root, _, ok := s.moduleOf(folder + "/x"); !ok || root != folder {
			outside = append(outside, folder)
		}
	}
	if len(outside) > 0 {
		return outside, BaseScan{}, nil
	}
	scan, err = s.result()
	return nil, scan, err
}

// moduleFolders are the folders with a manifest, but not those inside of a module (tests have some).
func (s *scanner) moduleFolders() []string {
	all := map[string]bool{}
	for file := range s.manifests {
		all[path.Dir(file)] = true
	}
	var folders []string
	for folder := range all {
		nested := false
		for above := path.Dir(folder); above != "." && above != "/"; above = path.Dir(above) {
			nested = nested || all[above]
		}
		if !nested {
			folders = append(folders, folder)
		}
	}
	slices.Sort(folders)
	return folders
}

var versionInfo = regexp.MustCompile(`(?m)^version_info\s*=\s*\(\s*['"]?([\w~]+)['"]?\s*,\s*(\d+)\s*,`)

func (s *scanner) result() (BaseScan, error) {
	folders := s.moduleFolders()
	var odooDir, series string
	for _, file := range sortedNames(s.releases) {
		dir := path.Dir(file)
		if !slices.Contains(folders, dir+"/addons/base") {
			continue
		}
		match := versionInfo.FindSubmatch(s.releases[file])
		if match == nil {
			return BaseScan{}, fmt.Errorf("base: /%s does not say which version of Odoo it is", file)
		}
		if odooDir != "" {
			return BaseScan{}, fmt.Errorf("base: Odoo is there twice: /%s and /%s", odooDir, dir)
		}
		odooDir, series = dir, string(match[1])+"."+string(match[2])
	}
	if odooDir == "" {
		return BaseScan{}, errors.New("base without Odoo: no folder odoo with release.py and addons/base is in the image; use an image with Odoo installed: odoo:19.0, oci:FOLDER or rootfs:FILE")
	}
	info, err := odoo.Series(series, true)
	if err != nil {
		return BaseScan{}, fmt.Errorf("base: /%s/release.py: %w", odooDir, err)
	}
	// Odoo's own order: its package first, then its community folder, then the rest.
	rank := map[string]int{odooDir + "/addons": 0, path.Dir(odooDir) + "/addons": 1}
	paths := map[string]bool{}
	for _, folder := range folders {
		paths[path.Dir(folder)] = true
	}
	ordered := sortedNames(paths)
	slices.SortStableFunc(ordered, func(a, b string) int {
		ra, okA := rank[a]
		rb, okB := rank[b]
		if !okA {
			ra = len(rank)
		}
		if !okB {
			rb = len(rank)
		}
		return cmp.Compare(ra, rb)
	})

	scan := BaseScan{Series: series, Base: release.Base{Version: s.packageVersion(series), Python: s.interpreter(odooDir)}}
	seen := map[string]bool{}
	for _, dir := range ordered {
		scan.Base.AddonsPaths = append(scan.Base.AddonsPaths, "/"+dir)
		for _, folder := range folders {
			if path.Dir(folder) != dir || seen[path.Base(folder)] {
				continue
			}
			m, ok, err := s.module(folder, info)
			if err != nil {
				return BaseScan{}, err
			}
			if ok {
				seen[m.Name] = true
				scan.Base.Modules = append(scan.Base.Modules, m)
			}
		}
	}
	scan.Base.Modules = complete(scan.Base.Modules)
	slices.SortFunc(scan.Base.Modules, func(a, b release.Module) int { return strings.Compare(a.Name, b.Name) })
	return scan, nil
}

// module reads one module of the base. What Odoo itself would not install is left out: a manifest
// that cannot be read, one of another series, one marked as not installable.
func (s *scanner) module(folder string, info odoo.SeriesInfo) (release.Module, bool, error) {
	var content []byte
	for _, name := range info.ManifestNames {
		if found, ok := s.manifests[folder+"/"+name]; ok {
			content = found
			break
		}
	}
	manifest, err := odoo.ParseManifest(content)
	if err != nil || !manifest.Installable {
		return release.Module{}, false, nil
	}
	version, err := info.AdaptVersion(manifest.Version)
	if err != nil {
		return release.Module{}, false, nil
	}
	m := release.Module{Name: path.Base(folder), Version: version, Depends: slices.Clone(manifest.Depends), AutoInstall: manifest.AutoInstall}
	if m.Name == "base" {
		m.Depends = nil
	}
	slices.Sort(m.Depends)
	m.Depends = slices.Compact(m.Depends)
	if m.Checksum, err = odoo.Checksum(s.filesOf(folder), s.rule); err != nil {
		return release.Module{}, false, fmt.Errorf("base: module %s: %w", m.Name, err)
	}
	return m, true, nil
}

// complete drops the modules that lack a dependency, and those that depend on them: Odoo could not
// install them either.
func complete(modules []release.Module) []release.Module {
	for {
		present := map[string]bool{}
		for _, m := range modules {
			present[m.Name] = true
		}
		kept := slices.DeleteFunc(slices.Clone(modules), func(m release.Module) bool {
			return slices.ContainsFunc(m.Depends, func(d string) bool { return !present[d] })
		})
		if len(kept) == len(modules) {
			return kept
		}
		modules = kept
	}
}

var packageStanza = regexp.MustCompile(`(?ms)^Package: (odoo(?:-\d+)?)$.*?^Version: (\S+)$`)

// packageVersion is the version of Debian's package where Odoo came as one, else the series.
func (s *scanner) packageVersion(series string) string {
	for stanza := range strings.SplitSeq(string(s.dpkg), "\n\n") {
		if match := packageStanza.FindStringSubmatch(stanza); match != nil {
			return match[1] + " " + match[2]
		}
	}
	return series
}

// interpreter prefers the one next to Odoo: a package under /usr/lib runs on /usr/bin's.
func (s *scanner) interpreter(odooDir string) string {
	best, bestMinor, bestNear := "python3", -1, false
	for file := range s.pythons {
		minor, err := strconv.Atoi(strings.TrimPrefix(path.Base(file), "python3."))
		if err != nil {
			continue
		}
		near := strings.HasPrefix(odooDir, "usr/local/") == strings.HasPrefix(file, "usr/local/")
		if near != bestNear && near || near == bestNear && minor > bestMinor {
			best, bestMinor, bestNear = path.Base(file), minor, near
		}
	}
	return best
}

// filesOf are a module's files, for its checksum.
func (s *scanner) filesOf(folder string) []odoo.File {
	var files []odoo.File
	for _, name := range s.byModule[folder] {
		files = append(files, odoo.File{
			Path: strings.TrimPrefix(name, folder+"/"),
			Open: func() (io.ReadCloser, error) { return s.open(name) },
		})
	}
	return files
}
