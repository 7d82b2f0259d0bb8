"""Where things are inside a container; the same as internal/bridge/protocol.go."""
import os

PROTOCOL = 1
CONFIG_DIR = "/etc/waybill"
POOL_FILE = os.path.join(CONFIG_DIR, "pool.json")
KEY_FILE = os.path.join(CONFIG_DIR, "bridge.key")
ODOO_CONF_FILE = os.path.join(CONFIG_DIR, "odoo.conf")
FILES_FILE = os.path.join(CONFIG_DIR, "files.json")  # only where files of attachments are in object storage
SESSIONS_FILE = os.path.join(CONFIG_DIR, "sessions.json")  # only where sessions are kept in Redis
JOB_FILE = os.path.join(CONFIG_DIR, "job.json")
OUT_DIR = "/run/waybill/out"
RESULT_FILE = os.path.join(OUT_DIR, "result.json")

LOCK_CLASS = 0x5742
LOCK_KEY = 1
MARKER_PARAMETER = "waybill.update"
CHECKSUMS_PARAMETER = "module_auto_update.installed_checksums"

# What this process is for: web, websocket, cron or update; empty where Waybill did not start it.
ROLE = os.environ.get("WAYBILL_ROLE", "")
