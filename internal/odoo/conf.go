package odoo

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/waybill-dev/waybill/internal/bridge"
)

// Ports on which a pool's processes listen.
const (
	HTTPPort   = 8069
	GeventPort = 8072
)

// BridgeModule is the server-wide module that every image carries.
const BridgeModule = "waybill_probe"

// LimitTimeReal is the longest that Odoo lets a request take, in seconds; stopping a worker
// gracefully can take as long.
const LimitTimeReal = 120

// Conf is what an odoo.conf is made of.
type Conf struct {
	Series      SeriesInfo
	AddonsPaths []string // Odoo's own, from release.Base; the product's and the bridge's are added
	Host        string   // of PostgreSQL, or the folder of its socket
	Port        int
	User        string
	Password    string // empty: none
	SSLMode     string // empty: Odoo's default
	DBFilter    string // regular expression; empty: none, the bridge maps hosts to databases
	Workers     int    // HTTP worker processes; 0: one threaded process
	CronThreads int
	// Update makes the configuration of a job: no HTTP, no worker, no cron.
	Update   bool
	Settings map[string]string // the estate's own options
}

// ProtectedSettingError says that an estate sets an option that Waybill decides.
type ProtectedSettingError struct{ Name string }

func (e *ProtectedSettingError) Error() string {
	return fmt.Sprintf("setting %q is decided by Waybill and cannot be set; remove it from the environment's settings", e.Name)
}

// nobodysPassword is the form of a pbkdf2 hash that was made from no password. Database management
// is off in every pool; this keeps Odoo's default master password from being one should someone
// switch it on.
var nobodysPassword = "$pbkdf2-sha512$600000$" + strings.Repeat("w", 22) + "$" + strings.Repeat("b", 85) + "."

// never lists options that an estate cannot set beside those which Render writes itself: they would
// send logs elsewhere, change databases behind the procedure's back, or open a door.
var never = []string{
	"admin_passwd", "bin_path", "config", "db_name", "db_replica_host", "db_replica_port", "db_template",
	"demo", "dev_mode", "http_enable", "i18n_overwrite", "import_partial", "init", "language",
	"load_language", "logfile", "longpolling_port", "overwrite_existing_translations", "pg_path",
	"pidfile", "pre_upgrade_scripts", "reinit", "root_path", "save", "shell_interface", "stop_after_init",
	"syslog", "test_enable", "test_file", "test_tags", "translate_in", "translate_out", "unaccent",
	"update", "upgrade_path", "with_demo", "without_demo", "x_sendfile", "xmlrpc_interface", "xmlrpc_port",
	"log_db", "db_sslmode",
}

var settingName = regexp.MustCompile(`^[a-z][a-z0-9_]{0,63}$`)

// Render writes the configuration file. It holds the password: mode 0600 or stricter. It names no
// database: a process without one serves those that the bridge lets it.
func (c Conf) Render() ([]byte, error) {
	if err := errors.Join(
		c.checkValue("database host", c.Host), c.checkValue("database user", c.User),
		c.checkValue("database password", c.Password), c.checkValue("dbfilter", c.DBFilter),
		c.checkValue("db_sslmode", c.SSLMode),
	); err != nil {
		return nil, err
	}
	switch {
	case c.Series.Series == "":
		return nil, errors.New("odoo.conf: no series")
	case c.Host == "" || c.User == "":
		return nil, errors.New("odoo.conf: the database's host and user are needed")
	case c.Port < 0 || c.Port > 65535:
		return nil, fmt.Errorf("odoo.conf: %d is no port of PostgreSQL", c.Port)
	}
	if c.Update {
		c.Workers, c.CronThreads = 0, 0
	}
	type option struct{ name, value string }
	addons := append([]string{bridge.BridgePath, bridge.AddonsPath}, c.AddonsPaths...)
	port := c.Port
	if port == 0 {
		port = 5432
	}
	options := []option{
		{"addons_path", strings.Join(addons, ",")},
		{"admin_passwd", nobodysPassword},
		{"data_dir", bridge.DataDir},
		{"db_host", c.Host},
		{"db_port", strconv.Itoa(port)},
		{"db_user", c.User},
		{c.Series.GeventPortOption, strconv.Itoa(GeventPort)},
		{"http_enable", pythonBool(!c.Update)},
		{"http_interface", "0.0.0.0"},
		{"http_port", strconv.Itoa(HTTPPort)},
		{"list_db", "False"},
		{"max_cron_threads", strconv.Itoa(c.CronThreads)},
		{"proxy_mode", "True"},
		{"server_wide_modules", strings.Join(append(slices.Clone(c.Series.ServerWideModules), BridgeModule), ",")},
		{"workers", strconv.Itoa(c.Workers)},
	}
	if demo, value, ok := strings.Cut(c.Series.WithoutDemo, " = "); ok {
		options = append(options, option{demo, value})
	}
	for _, o := range []option{{"db_password", c.Password}, {"dbfilter", c.DBFilter}, {"db_sslmode", c.SSLMode}} {
		if o.value != "" {
			options = append(options, o)
		}
	}
	fixed := append(slices.Clone(never), "db_password", "dbfilter")
	for _, o := range options {
		fixed = append(fixed, o.name)
	}

	// What an estate may change, with Waybill's defaults.
	open := map[string]string{
		"db_maxconn":           "32", // for each process; a threaded one holds a connection for each request
		"limit_time_cpu":       "60",
		"limit_time_real":      strconv.Itoa(LimitTimeReal),
		"log_level":            "info",
		"limit_request":        "8192",
		"limit_time_real_cron": "0", // a cron job that runs for long is not killed half-way
	}
	if c.Workers > 0 {
		open["db_maxconn"] = "8" // a worker process serves one request at a time
		open["db_maxconn_gevent"] = "32"
	}
	for _, name := range sortedKeys(c.Settings) {
		value := c.Settings[name]
		if !settingName.MatchString(name) {
			return nil, fmt.Errorf("setting %q is no option's name; expected lower-case letters, digits and underscores", name)
		}
		if slices.Contains(fixed, name) {
			// Server-wide modules of the user's own are welcome beside the defaults.
			if name == "server_wide_modules" {
				merged, err := c.serverWide(value)
				if err != nil {
					return nil, err
				}
				for i := range options {
					if options[i].name == name {
						options[i].value = merged
					}
				}
				continue
			}
			return nil, &ProtectedSettingError{Name: name}
		}
		if err := c.checkValue("setting "+name, value); err != nil {
			return nil, err
		}
		open[name] = value
	}
	for name, value := range open {
		options = append(options, option{name, value})
	}
	slices.SortFunc(options, func(a, b option) int { return strings.Compare(a.name, b.name) })
	var b strings.Builder
	b.WriteString("; Written by Waybill; a change here is lost with the next release.\n[options]\n")
	for _, o := range options {
		fmt.Fprintf(&b, "%s = %s\n", o.name, o.value)
	}
	return []byte(b.String()), nil
}

// serverWide puts a user's server-wide modules between the series' own and the bridge.
func (c Conf) serverWide(value string) (string, error) {
	list := slices.Clone(c.Series.ServerWideModules)
	for _, name := range strings.Split(value, ",") {
		name = strings.TrimSpace(name)
		if !ModuleName.MatchString(name) {
			return "", fmt.Errorf("setting \"server_wide_modules\": %q is no module's name", name)
		}
		if !slices.Contains(list, name) && name != BridgeModule {
			list = append(list, name)
		}
	}
	return strings.Join(append(list, BridgeModule), ","), nil
}

// ModuleName is what Odoo accepts as the name of a module's folder.
var ModuleName = regexp.MustCompile(`^[A-Za-z0-9_]{1,256}$`)

// checkValue refuses what Odoo would read as something else than was meant.
func (c Conf) checkValue(what, value string) error {
	switch {
	case strings.ContainsAny(value, "\n\r\x00"):
		return fmt.Errorf("odoo.conf: %s contains a line break", what)
	case strings.TrimSpace(value) != value:
		return fmt.Errorf("odoo.conf: %s begins or ends with a blank, which Odoo would drop", what)
	case len(value) > 4096:
		return fmt.Errorf("odoo.conf: %s is longer than 4096 characters", what)
	case what == "database password" && slices.Contains([]string{"None", "False", "false"}, value):
		return fmt.Errorf("odoo.conf: %s is a word that Odoo reads as \"no password\"", what)
	}
	return nil
}

func pythonBool(b bool) string {
	if b {
		return "True"
	}
	return "False"
}
