#!/usr/bin/env bash
# Builds the web console from web/ into internal/console/dist, where the Go build embeds it.
#
#   hack/console.sh build   the bundle; nothing is done where the inputs are as they were
#   hack/console.sh check   types, lint and format, of the tests in a browser too
#   hack/console.sh test    unit tests
#   hack/console.sh browser what test/console needs: Chromium, Playwright, axe
#
# What it built and what npm loaded is kept in the cache, never in the tree: $WAYBILL_CACHE/console, by a hash of the
# inputs, and $WAYBILL_CACHE/npm.
set -euo pipefail
cd "$(dirname "$0")/.."
cache=${WAYBILL_CACHE:-${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/waybill}
dist=internal/console/dist
keep=10 # bundles

say() { printf 'console: %s\n' "$*" >&2; }

have_node() { command -v npm >/dev/null && node -e 'process.exit(+process.versions.node.split(".")[0] >= 18 ? 0 : 1)' 2>/dev/null; }

need_node() {
	have_node && return 0
	say "no Node.js 18 or newer is here; installing Debian's own"
	hack/setup.sh packages node
	have_node || { say "there is still none; see above"; return 1; }
}

# Everything that the bundle is made from.
inputs() {
	{
		find web \( -path web/node_modules -o -path web/dist \) -prune -o -type f ! -name '*.test.ts' ! -name '*.test.tsx' ! -path web/src/api/schema.d.ts -print
		echo hack/console.sh
		echo docs/schemas/openapi.json
	} | LC_ALL=C sort | xargs -d '\n' sha256sum | sha256sum | cut -c1-32
}

# Anew only where the lock file is another. What the lock file names, by version and checksum; not npm ci, which wants
# the optional packages of all other platforms in it, and a registry may not have those.
install() {
	local folder=${1:-web} sum
	sum=$(sha256sum "$folder/package-lock.json" | cut -c1-32)
	[ "$(cat "$folder/node_modules/.waybill" 2>/dev/null || true)" = "$sum" ] && return 0
	say "installing what $folder/package-lock.json names"
	(cd "$folder" && npm install --no-save --ignore-scripts --no-audit --no-fund --prefer-offline --cache "$cache/npm" --loglevel error >&2)
	echo "$sum" >"$folder/node_modules/.waybill"
}

types() { (cd web && npm run --silent types >&2); }

build() {
	local key made
	key=$(inputs)
	[ "$(cat "$dist/.key" 2>/dev/null || true)" = "$key" ] && return 0
	made=$cache/console/$key
	if [ ! -d "$made" ]; then
		need_node
		install
		types
		say "building"
		(cd web && npm run --silent bundle >&2)
		mkdir -p "$cache/console"
		rm -rf "$made.new"
		cp -R web/dist "$made.new"
		mv "$made.new" "$made"
		# shellcheck disable=SC2012 # the names are hashes
		ls -dt "$cache"/console/* | tail -n +$((keep + 1)) | xargs -r rm -rf
	fi
	find "$dist" -mindepth 1 ! -name .gitkeep -delete
	cp -R "$made/." "$dist/"
	echo "$key" >"$dist/.key"
	say "built into $dist"
}

check() {
	need_node
	install
	types
	(cd web && npm run --silent check)
	install test/console
	web/node_modules/.bin/tsc --noEmit -p test/console
	(cd test/console && ../../web/node_modules/.bin/biome ci --colors=off --diagnostic-level=error .)
}

browser() {
	need_node
	install test/console
	command -v chromium >/dev/null || [ -n "${WAYBILL_CHROMIUM:-}" ] || hack/setup.sh packages console
}

unit() {
	need_node
	install
	types
	(cd web && npm test --silent)
}

case ${1:-} in
build) build ;;
check) check ;;
test) unit ;;
browser) browser ;;
*)
	echo "usage: hack/console.sh build|check|test|browser" >&2
	exit 2
	;;
esac
