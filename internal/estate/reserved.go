package estate

import "strings"

// reserved are the options of odoo.conf that Waybill sets itself, each with the reason why an
// estate may not. The names are those of Odoo's own option parser (odoo/tools/config.py).
var reserved = map[string]string{
	"db_name":          "a pool serves the databases of its tenants and no other",
	"db_user":          "each pool logs in with a role of its own, so that one pool can be fenced off",
	"db_password":      "passwords are derived by Waybill and never stand in an estate",
	"db_host":          "the server is named in database.url",
	"db_port":          "the server is named in database.url",
	"db_sslmode":       "the server is named in database.url",
	"db_replica_host":  "a replica would answer reads from behind the fence",
	"db_replica_port":  "a replica would answer reads from behind the fence",
	"db_template":      "Waybill creates the databases",
	"db_app_name":      "Waybill tells its pools apart by it",
	"pg_path":          "pools never dump or restore",
	"dbfilter":         "the list of tenants and their hosts says which database a request gets",
	"list_db":          "the list of databases, and with it their deletion over the web, stays off",
	"admin_passwd":     "the database manager stays off",
	"addons_path":      "it follows from the release; a folder from outside would not be in the digest",
	"upgrade_path":     "it follows from the release; a folder from outside would not be in the digest",
	"data_dir":         "filestore and sessions are shared by the pools of a group",
	"load":             "its name in odoo.conf is server_wide_modules, which Waybill sets",
	"config":           "there is one configuration and Waybill writes it",
	"save":             "there is one configuration and Waybill writes it",
	"pidfile":          "the runtime looks after the processes",
	"http_interface":   "the router decides who reaches a pool",
	"http_port":        "the router has to find the pool",
	"xmlrpc_port":      "the router has to find the pool",
	"http_enable":      "a pool without HTTP cannot answer for its readiness",
	"gevent_port":      "the router has to find the pool",
	"longpolling_port": "the router has to find the pool",
	"proxy_mode":       "it is always on, as the router stands in front",
	"workers":          "use the field workers of the environment",
	"max_cron_threads": "Waybill moves cron from pool to pool, so that it never runs twice",
	"logfile":          "logs go to the runtime",
	"syslog":           "logs go to the runtime",
	"log_db":           "logs go to the runtime; a second connection would write behind the fence",
	"init":             "modules are installed by a promotion",
	"update":           "modules are updated by a promotion",
	"reinit":           "modules are updated by a promotion",
	"with_demo":        "demo data does not come off again",
	"without_demo":     "Waybill never loads demo data",
	"stop_after_init":  "a pool is there to stay",
	"dev_mode":         "it reloads code and would no longer be the release",
	"test_enable":      "tests write to the tenant's database",
	"test_file":        "tests write to the tenant's database",
	"test_tags":        "tests write to the tenant's database",

	"bin_path":         "it follows from the release; a folder from outside would not be in the digest",
	"root_path":        "it follows from the release; a folder from outside would not be in the digest",
	"demo":             "demo data does not come off again",
	"language":         "languages are named by each Tenant",
	"load_language":    "languages are named by each Tenant",
	"i18n_overwrite":   "translations change by a promotion alone",
	"translate_in":     "translations change by a promotion alone",
	"translate_out":    "pools write no files",
	"import_partial":   "modules are installed by a promotion",
	"shell_interface":  "a pool has no shell",
	"unaccent":         "the extension is a matter of the database",
	"x_sendfile":       "the router does not see the filestore",
	"xmlrpc_interface": "the router decides who reaches a pool",

	"overwrite_existing_translations": "translations change by a promotion alone",

	"server_wide_modules": "Waybill appends its bridge to the list of the series",
	"skip_auto_install":   "which modules are installed follows from the release",
	"pre_upgrade_scripts": "they would run outside the transaction of the update",
}

// reservedReason says why a setting is not for an estate.
func reservedReason(name string) (string, bool) {
	reason, ok := reserved[strings.ReplaceAll(name, "-", "_")]
	return reason, ok
}

// sensitive says whether a field's name speaks of a secret, so that its value is never repeated.
func sensitive(path string) bool {
	name := path[strings.LastIndex(path, ".")+1:]
	for _, word := range []string{"password", "passwd", "passphrase", "secret", "token", "apikey", "api_key", "private_key"} {
		if strings.Contains(strings.ToLower(name), word) {
			return true
		}
	}
	return false
}
