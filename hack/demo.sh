#!/usr/bin/env bash
# The main job on a real Odoo, as a story: see examples/acme/demo. hack/with.sh has made ready what
# it needs. What it leaves to look at is in $WAYBILL_DEMO, by default demo/ in the cache, or
# /var/lib/waybill-demo for root, whose home PostgreSQL's own user may not pass; what it started is stopped.
set -euo pipefail
cd "$(dirname "$0")/.."

demo=$WAYBILL_CACHE/demo
[ "$(id -u)" -ne 0 ] || demo=/var/lib/waybill-demo
demo=${WAYBILL_DEMO:-$demo}
waybill=$PWD/bin/waybill

down() {
	[ -e "$demo/data/instance" ] || return 0
	"$waybill" --data "$demo/data" down >/dev/null
}

down # of a run that was cut off
rm -rf -- "$demo"
mkdir -p "$demo"
trap 'down || echo "demo: stopping what was started failed; try: bin/waybill --data $demo/data down" >&2' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

go run ./examples/acme/demo -waybill "$waybill" -data "$demo/data" -work "$demo/work" \
	-base "$WAYBILL_BASE" -cache "$WAYBILL_CACHE/demo-initial" "$@"
