package odoo

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// SeriesInfo is what differs from one series of Odoo to the next. A new series is a new entry in
// the table below, not new code.
type SeriesInfo struct {
	Series            string
	Supported         bool     // tested by Waybill against the real thing
	ServerWideModules []string // Odoo's own default of --load, which the bridge is appended to
	ManifestNames     []string // in the order in which Odoo looks for them
	GeventCommand     string   // subcommand of the websocket process
	GeventPortOption  string   // name of its port in odoo.conf
	WithoutDemo       string   // option and value in odoo.conf that keep demo data out, "name = value"
}

var seriesTable = []SeriesInfo{
	{
		Series:            "17.0",
		ServerWideModules: []string{"base", "web"},
		ManifestNames:     []string{"__manifest__.py", "__openerp__.py"},
		GeventCommand:     "gevent",
		GeventPortOption:  "gevent_port",
		WithoutDemo:       "without_demo = all",
	},
	{
		Series:            "18.0",
		ServerWideModules: []string{"base", "web"},
		ManifestNames:     []string{"__manifest__.py"},
		GeventCommand:     "gevent",
		GeventPortOption:  "gevent_port",
		WithoutDemo:       "without_demo = all",
	},
	{
		Series:            "19.0",
		Supported:         true,
		ServerWideModules: []string{"base", "rpc", "web"},
		ManifestNames:     []string{"__manifest__.py"},
		GeventCommand:     "gevent",
		GeventPortOption:  "gevent_port",
		WithoutDemo:       "with_demo = False",
	},
}

// Series returns what is known of a series. One that Waybill has not been tested with is refused
// unless experimental is set; one that is not in the table is always refused.
func Series(name string, experimental bool) (SeriesInfo, error) {
	var known []string
	for _, info := range seriesTable {
		if info.Series == name {
			if !info.Supported && !experimental {
				return SeriesInfo{}, fmt.Errorf("series %q: Waybill has not been tested with Odoo %s; set \"experimental: true\" in the Product to go on at your own risk, or use %s", name, name, supported())
			}
			return info.clone(), nil
		}
		known = append(known, info.Series)
	}
	return SeriesInfo{}, fmt.Errorf("series %q is unknown; supported: %s; known, with \"experimental: true\": %s", name, supported(), strings.Join(known, ", "))
}

func supported() string {
	var names []string
	for _, info := range seriesTable {
		if info.Supported {
			names = append(names, info.Series)
		}
	}
	return strings.Join(names, ", ")
}

func (s SeriesInfo) clone() SeriesInfo {
	s.ServerWideModules = slices.Clone(s.ServerWideModules)
	s.ManifestNames = slices.Clone(s.ManifestNames)
	return s
}

// AdaptVersion returns a module's version as Odoo stores it in ir_module_module.latest_version:
// a short one gets the series as its prefix. A version of another series is an error.
func (s SeriesInfo) AdaptVersion(version string) (string, error) {
	if version == "" {
		version = "1.0"
	}
	parts := strings.Split(version, ".")
	valid := len(parts) >= 2 && len(parts) <= 5
	for _, part := range parts {
		if n, err := strconv.Atoi(part); err != nil || n < 0 {
			valid = false
		}
	}
	if !valid {
		return "", fmt.Errorf("version %q: expected x.y, x.y.z, %s.x.y or %s.x.y.z with numbers only", version, s.Series, s.Series)
	}
	adapted := version
	if len(parts) <= 3 && !strings.HasPrefix(version, s.Series) {
		adapted = s.Series + "." + version
	}
	if !strings.HasPrefix(adapted, s.Series+".") {
		return "", fmt.Errorf("version %q is not one of series %s; expected x.y, x.y.z, %s.x.y or %s.x.y.z", version, s.Series, s.Series, s.Series)
	}
	return adapted, nil
}
