package odoo

import (
	"fmt"
	"slices"
	"strings"

	"github.com/waybill-dev/waybill/internal/release"
)

// Plan is what a release's update has to do in one database. It is the argument of the update job
// and nothing is read from the database again to make it.
type Plan struct {
	Update  []string // the smallest set of modules for "-u": Odoo takes their installed dependents along
	Install []string // modules for "-i": declared or newly needed ones
	Touched []string // every module that Odoo will load anew, in its order
	Missing []string // installed in the database and absent from the image: the release does not fit
	Older   []string // modules whose version in the image is below the database's: no script goes that way
	// Checksums to store once the update is committed, for every module that is then installed.
	Checksums map[string]string
	Reason    map[string]string // why, by module of Update and Install, and of those that Update stands for
}

// Empty says that the database need not change for the release.
func (p Plan) Empty() bool { return len(p.Update) == 0 && len(p.Install) == 0 }

// PlanInput is what MakePlan decides on.
type PlanInput struct {
	Release release.Release
	Facts   Facts
	Install []string // modules that the tenant declares
	// Also holds checksums of the release's modules by a further rule, usually the database's own
	// (see Facts.Rule): a stored checksum that equals either means "unchanged". Optional.
	Also map[string]string
}

// ByAnotherRule says that the database's checksums look as if they were computed by another rule than
// Waybill's own, and that it is worth the while to compute Also: a module of the base has the release's
// version and another checksum. Otherwise a database that was last updated by click-odoo-update would be
// updated from its base up, for nothing.
func (in PlanInput) ByAnotherRule() bool {
	if in.Also != nil {
		return false
	}
	base := map[string]release.Module{}
	for _, m := range in.Release.Base.Modules {
		base[m.Name] = m
	}
	return slices.ContainsFunc(in.Facts.Modules, func(m InstalledModule) bool {
		image, ok := base[m.Name]
		stored := in.Facts.Checksums[m.Name]
		return ok && m.Version == image.Version && stored != "" && stored != image.Checksum
	})
}

// MakePlan compares a release with a database. It is pure. It fails when a declared module is not
// in the image or the image's modules do not hold together; modules that are missing from the
// image are in the plan, for the caller to refuse.
func MakePlan(in PlanInput) (Plan, error) {
	graph, err := NewGraph(in.Release.Modules, in.Release.Base.Modules)
	if err != nil {
		return Plan{}, fmt.Errorf("planning the update to release %s: %w", in.Release.Name, err)
	}
	p := Plan{Checksums: map[string]string{}, Reason: map[string]string{}}
	installed := map[string]bool{}
	changed := map[string]bool{}
	// With no module of the base stored at all, nothing ever recorded what this database was
	// updated to, and only a whole update makes it known.
	unknown := len(in.Facts.Checksums) == 0

	for _, m := range in.Facts.Modules {
		image, there := in.Release.Find(m.Name)
		switch m.State {
		case StateInstalled, StateToUpgrade, StateToRemove:
			installed[m.Name] = true
			if !there {
				p.Missing = append(p.Missing, m.Name)
				continue
			}
		case StateToInstall:
			// Odoo installs it with whatever comes next, so it is planned for openly.
			if there {
				p.Install = append(p.Install, m.Name)
				p.Reason[m.Name] = "an earlier installation did not finish"
			}
			continue
		default:
			continue
		}
		if reason := whyUpdate(m, image, in, unknown); reason != "" {
			changed[m.Name] = true
			p.Reason[m.Name] = reason
		}
		if compareVersions(image.Version, m.Version) < 0 {
			p.Older = append(p.Older, m.Name)
		}
	}
	if in.Facts.PartiallyUpdated && installed["base"] {
		changed["base"] = true
		p.Reason["base"] = "an earlier update of this database did not finish"
	}

	for _, name := range in.Install {
		if _, ok := in.Release.Find(name); !ok {
			return Plan{}, fmt.Errorf("module %q is declared for this tenant but is not in release %s; add it to the product's addons or take it off the tenant's modules", name, in.Release.Name)
		}
		if !installed[name] && !slices.Contains(p.Install, name) {
			p.Install = append(p.Install, name)
			p.Reason[name] = "declared for this tenant"
		}
	}

	p.Update = roots(graph, changed, installed)
	touched := map[string]bool{}
	for _, name := range graph.Dependents(p.Update...) {
		if installed[name] {
			touched[name] = true
		}
	}
	// An update also installs what an updated module newly depends on.
	for name := range touched {
		for _, dep := range graph.modules[name].Depends {
			if !installed[dep] && !slices.Contains(p.Install, dep) {
				p.Install = append(p.Install, dep)
				p.Reason[dep] = fmt.Sprintf("%s now depends on it", name)
			}
		}
	}
	after := map[string]bool{}
	for name := range installed {
		after[name] = true
	}
	for _, name := range graph.Needs(p.Install...) {
		if !installed[name] {
			touched[name], after[name] = true, true
		}
	}
	if len(p.Install) > 0 || len(p.Update) > 0 {
		for _, name := range autoInstalled(graph, after) {
			touched[name], after[name] = true, true
		}
	}
	for _, name := range graph.Order() {
		if touched[name] {
			p.Touched = append(p.Touched, name)
		}
		if after[name] {
			p.Checksums[name] = graph.modules[name].Checksum
		}
	}
	slices.Sort(p.Install)
	slices.Sort(p.Missing)
	slices.Sort(p.Older)
	return p, nil
}

// whyUpdate is empty for a module that is in the database as it is in the image.
func whyUpdate(m InstalledModule, image release.Module, in PlanInput, unknown bool) string {
	stored, ok := in.Facts.Checksums[m.Name]
	also := in.Also[m.Name]
	switch {
	case m.State == StateToUpgrade:
		return "an earlier update of it did not finish"
	case m.Version != image.Version && m.Version == "":
		return "the database does not say which version it was updated to"
	case m.Version != image.Version:
		return fmt.Sprintf("version %s → %s", m.Version, image.Version)
	case unknown:
		return "nothing is known of what the database was last updated to"
	case !ok:
		return "not updated by Waybill or click-odoo-update yet"
	case stored != image.Checksum && (also == "" || stored != also):
		return "its files changed"
	}
	return ""
}

// roots leaves out what is updated anyway because it depends on another one.
func roots(g *Graph, changed, installed map[string]bool) []string {
	var kept []string
	covered := map[string]bool{}
	for _, name := range g.Order() { // dependencies come first
		if !changed[name] || covered[name] {
			continue
		}
		kept = append(kept, name)
		// Odoo goes on along installed modules only; all that lies between two installed ones is.
		for _, dependent := range g.Dependents(name) {
			if installed[dependent] {
				covered[dependent] = true
			}
		}
	}
	slices.Sort(kept)
	return kept
}

// autoInstalled foretells which modules Odoo adds by itself. It knows of no country or other
// condition, so it may name too many; their checksums then lie unused.
func autoInstalled(g *Graph, present map[string]bool) []string {
	has := map[string]bool{}
	for name := range present {
		has[name] = true
	}
	var added []string
	for grew := true; grew; {
		grew = false
		for _, name := range g.Order() {
			m := g.modules[name]
			if !m.AutoInstall || has[name] || slices.ContainsFunc(m.Depends, func(d string) bool { return !has[d] }) {
				continue
			}
			has[name], grew = true, true
			added = append(added, name)
		}
	}
	return added
}

// compareVersions compares dotted numbers; what is no number compares as text.
func compareVersions(a, b string) int {
	as, bs := strings.Split(a, "."), strings.Split(b, ".")
	for i := range max(len(as), len(bs)) {
		var x, y string
		if i < len(as) {
			x = strings.TrimLeft(as[i], "0")
		}
		if i < len(bs) {
			y = strings.TrimLeft(bs[i], "0")
		}
		if len(x) != len(y) {
			return len(x) - len(y)
		}
		if c := strings.Compare(x, y); c != 0 {
			return c
		}
	}
	return 0
}
