#!/usr/bin/env bash
# Makes the base image that releases stand on: a real Odoo 19.0 from Debian's own packages, as an
# OCI layout in the cache. Nothing is pulled from a container registry.
#
#   hack/base/build.sh          make it, or do nothing when the cache has it
#   hack/base/build.sh --path   print where the layout is, or will be, and do nothing
#
# Odoo 19 is packaged in Debian's suite "sid"; it runs on trixie's Python 3.13 and fails on sid's
# own, so everything comes from trixie but that one package.
#
# Two runs against the same archive give identical bytes: fixed names, fixed dates, no trace of
# the mirror. The cache is keyed by this file without its comments, so a changed recipe makes a new base.
#
# Reads: WAYBILL_CACHE (default: $XDG_CACHE_HOME/waybill or ~/.cache/waybill),
#        WAYBILL_MIRROR (a Debian mirror; default: the one in this machine's own apt sources).
set -euo pipefail
unset TZ
export LC_ALL=C.UTF-8 SOURCE_DATE_EPOCH=1760000000

series=19.0
package=odoo-19
tried=19.0.0+dfsg-1 # the version of $package that this recipe was last tried with
suite=trixie

here=$(cd "$(dirname "$0")" && pwd)
key=$(sed '/^[[:space:]]*#/d' "$here/build.sh" | sha256sum | cut -c1-16)
cache=${WAYBILL_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/waybill}/base
final=$cache/$key

if [ "${1:-}" = --path ]; then
	echo "$final/layout"
	exit 0
fi
if [ -f "$final/layout/index.json" ]; then
	echo "base: Odoo $series is in the cache: $final/layout"
	exit 0
fi

say() { echo "base: $*"; }
trap 'echo "base: line $LINENO failed; nothing was left behind" >&2' ERR
die() {
	echo "base: $1" >&2
	shift
	for line in "$@"; do echo "      $line" >&2; done
	exit 1
}
way_out=(
	"Use another base instead, in the estate's Product:"
	"  base: odoo:$series           an image in a registry (name its host, for example docker.io/library/odoo:$series)"
	"  base: oci:FOLDER          an OCI layout"
	"  base: rootfs:FILE         a tar of a root file system with Odoo $series in it"
)

missing=()
for tool in mmdebstrap:mmdebstrap tar:tar cmp:diffutils flock:util-linux sha256sum:coreutils; do
	command -v "${tool%%:*}" >/dev/null || missing+=("${tool##*:}")
done
[ ${#missing[@]} -eq 0 ] || die "these Debian packages are missing: ${missing[*]}" "apt-get install -y ${missing[*]}"
go=$(command -v go || echo /usr/local/go/bin/go)
[ -x "$go" ] || die "Go is needed to pack the image and was not found" "install it from https://go.dev/dl/"

# Prints the first mirror of Debian's main archive in this machine's apt sources (one-line and
# deb822 format). The security archive is another one and does not hold whole suites.
mirror() {
	cat /etc/apt/sources.list /etc/apt/sources.list.d/*.list 2>/dev/null | awk '
		$1 == "deb" {
			sub(/^deb[ \t]+(\[[^]]*\][ \t]*)?/, "")
			if ($2 !~ /security/ && / main( |$)/ && $1 ~ /debian\/?$/) { print $1 }
		}'
	cat /etc/apt/sources.list.d/*.sources 2>/dev/null | awk '
		function flush() {
			if (types ~ /deb( |$)/ && suites !~ /security/ && components ~ /(^| )main( |$)/ && uris ~ /debian\/?( |$)/ ) {
				split(uris, u, " "); print u[1]
			}
			types = suites = components = uris = ""
		}
		/^#/ { next }
		/^[ \t]*$/ { flush(); next }
		tolower($1) == "types:" { $1 = ""; types = $0 }
		tolower($1) == "suites:" { $1 = ""; suites = $0 }
		tolower($1) == "components:" { $1 = ""; components = $0 }
		tolower($1) == "uris:" { $1 = ""; uris = $0 }
		END { flush() }'
}

mkdir -p "$cache"
# One maker at a time; whoever waited finds the result.
exec 9>"$cache/.lock"
flock -n 9 || { say "another run is making it; waiting"; flock 9; }
if [ -f "$final/layout/index.json" ]; then
	say "Odoo $series is in the cache: $final/layout"
	exit 0
fi
[ "$(id -u)" = 0 ] || die "making the base needs root (mmdebstrap unpacks a Debian system)" "run it with sudo" "${way_out[@]}"

mirrors=$(mirror) # whole, not "| head": with pipefail a closed pipe would end the script
from=${WAYBILL_MIRROR:-${mirrors%%$'\n'*}}
[ -n "$from" ] || die "no Debian mirror in this machine's apt sources" "set WAYBILL_MIRROR to one" "${way_out[@]}"

# An interrupted run leaves only a folder that the next one takes away: what is there under the
# final name is always whole.
rm -rf "$cache"/.making-*
work=$(mktemp -d "$cache/.making-XXXXXX")
trap 'rm -rf "$work"' EXIT

cat >"$work/preferences" <<P
Package: *
Pin: release n=sid
Pin-Priority: -1

Package: $package
Pin: release n=sid
Pin-Priority: 900
P

# Copyright files stay (licences ask for it), and so do Odoo's own translations, which are in its
# addons and not under /usr/share/locale.
options=(
	--variant=minbase
	--mode=root
	--format=tar
	--aptopt='Acquire::Check-Valid-Until "false"'
	--aptopt='Acquire::Retries "3"'
	--dpkgopt='path-exclude=/usr/share/man/*'
	--dpkgopt='path-exclude=/usr/share/info/*'
	--dpkgopt='path-exclude=/usr/share/locale/*'
	--dpkgopt='path-exclude=/usr/share/lintian/*'
	--dpkgopt='path-exclude=/usr/share/doc/*'
	--dpkgopt='path-include=/usr/share/doc/*/copyright'
	--setup-hook="mkdir -p \"\$1/etc/apt/preferences.d\" && cp '$work/preferences' \"\$1/etc/apt/preferences.d/odoo\""
	# Which mirror was used, and what apt remembers of it, is nobody's business and would make two
	# builds differ.
	--customize-hook='rm -rf "$1"/etc/apt/sources.list "$1"/etc/apt/sources.list.d/* "$1"/etc/apt/preferences.d/odoo'
	--customize-hook='rm -rf "$1"/var/log/*.log "$1"/var/log/apt/* "$1"/var/cache/ldconfig/aux-cache "$1"/var/lib/apt/extended_states'
	--customize-hook=': > "$1"/etc/machine-id; echo waybill > "$1"/etc/hostname; rm -f "$1"/etc/resolv.conf "$1"/etc/odoo/odoo.conf'
	# The package holds most of Odoo's modules twice, in odoo/addons and, the same byte for byte, in
	# addons. Odoo finds them in odoo/addons first, so the second copy (98 MB) is never read.
	--customize-hook='cd "$1/usr/lib/python3/dist-packages" && for m in addons/*/; do if cmp -s "$m/__manifest__.py" "odoo/$m/__manifest__.py"; then rm -rf "$m"; fi; done; rmdir addons || true'
	# tzdata: Odoo computes in the user's time zone. redis: sessions outside the pool.
	--include="$package,tzdata,python3-redis"
)

say "making Odoo $series from Debian packages (about 3 minutes)"
started=$SECONDS
if ! mmdebstrap "${options[@]}" "$suite" "$work/rootfs.tar" "deb $from $suite main" "deb $from sid main" >"$work/log" 2>&1; then
	if grep -Eq "Unable to locate package $package|has no installation candidate" "$work/log"; then
		die "the Debian archive has no package $package any more" "${way_out[@]}"
	fi
	tail -n 20 "$work/log" >&2
	die "mmdebstrap failed; its last lines are above" "${way_out[@]}"
fi
version=$(tar -xOf "$work/rootfs.tar" ./var/lib/dpkg/status | awk -v p="$package" '/^Package: /{here = ($2 == p)} here && /^Version: /{print $2; here = 0}')
say "root file system with $package $version made in $((SECONDS - started)) s"
if [ "$version" != "$tried" ]; then
	say "warning: this recipe was tried with $package $tried; the archive now has $version."
	say "         If Odoo does not start on it, use another base: odoo:$series from a registry, oci:FOLDER or rootfs:FILE."
fi

started=$SECONDS
(cd "$here/../.." && "$go" run ./hack/base "$work/rootfs.tar" "$work/layout")
say "packed as an OCI image in $((SECONDS - started)) s"
rm -f "$work/rootfs.tar" "$work/preferences"
echo "$version" >"$work/version"
chmod 755 "$work"
mv -T "$work" "$final"
trap - EXIT
say "done: $final/layout"
