package odoo

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func conf() Conf {
	info, _ := Series("19.0", false)
	return Conf{
		Series: info, AddonsPaths: []string{"/usr/lib/python3/dist-packages/odoo/addons"},
		Host: "/run/waybill/pg", User: "acme_pool", Password: "s3cret", Workers: 2, CronThreads: 1,
	}
}

func TestConf(t *testing.T) {
	out, err := conf().Render()
	require.NoError(t, err)
	require.Equal(t, `; Written by Waybill; a change here is lost with the next release.
[options]
addons_path = /opt/waybill/bridge,/opt/waybill/addons,/usr/lib/python3/dist-packages/odoo/addons
admin_passwd = `+nobodysPassword+`
data_dir = /var/lib/odoo
db_host = /run/waybill/pg
db_maxconn = 8
db_maxconn_gevent = 32
db_password = s3cret
db_port = 5432
db_user = acme_pool
gevent_port = 8072
http_enable = True
http_interface = 0.0.0.0
http_port = 8069
limit_request = 8192
limit_time_cpu = 60
limit_time_real = 120
limit_time_real_cron = 0
list_db = False
log_level = info
max_cron_threads = 1
proxy_mode = True
server_wide_modules = base,rpc,web,waybill_probe
with_demo = False
workers = 2
`, string(out))
}

func TestConfOfAnUpdateStartsNothing(t *testing.T) {
	c := conf()
	c.Update = true
	out, err := c.Render()
	require.NoError(t, err)
	for _, want := range []string{"\nworkers = 0\n", "\nmax_cron_threads = 0\n", "\nhttp_enable = False\n"} {
		require.Contains(t, string(out), want)
	}
	require.NotContains(t, string(out), "db_name")
}

func TestConfSettings(t *testing.T) {
	c := conf()
	c.Settings = map[string]string{"limit_time_cpu": "600", "geoip_city_db": "/x", "server_wide_modules": "web, queue_job", "queue_job_channels": "root:2"}
	out, err := c.Render()
	require.NoError(t, err)
	for _, want := range []string{"\nlimit_time_cpu = 600\n", "\ngeoip_city_db = /x\n", "\nserver_wide_modules = base,rpc,web,queue_job,waybill_probe\n", "\nqueue_job_channels = root:2\n"} {
		require.Contains(t, string(out), want)
	}
	for _, name := range []string{"db_name", "db_host", "db_password", "addons_path", "list_db", "workers", "logfile", "admin_passwd", "dbfilter", "with_demo", "gevent_port"} {
		c.Settings = map[string]string{name: "x"}
		_, err := c.Render()
		var protected *ProtectedSettingError
		require.ErrorAs(t, err, &protected, name)
		require.Equal(t, name, protected.Name)
	}
	for name, value := range map[string]string{"Bad-Name": "x", "limit_time_cpu": "1\nlist_db = True", "limit_time_real": " 1", "server_wide_modules": "a;b"} {
		c.Settings = map[string]string{name: value}
		_, err := c.Render()
		require.Error(t, err, name)
		require.NotContains(t, err.Error(), "list_db")
	}
}

func TestConfNeverShowsThePassword(t *testing.T) {
	for _, password := range []string{"two\nlines", " secret-with-blank", "None", strings.Repeat("x", 5000)} {
		c := conf()
		c.Password = password
		_, err := c.Render()
		require.ErrorContains(t, err, "database password")
		if password != "None" {
			require.NotContains(t, err.Error(), password)
		}
	}
}
