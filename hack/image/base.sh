#!/usr/bin/env bash
# Makes what Waybill's own image stands on: a small Debian with the programs that the server calls (git, pg_dump and
# pg_restore, a PostgreSQL server for rehearsals, python3), certificates and time zones, as an OCI layout in the cache.
#
#   hack/image/base.sh          make it, or do nothing when the cache has it; prints where the layout is
#
# PostgreSQL's compiler for queries (jit) stays out: it takes more room than everything else, and Odoo's queries are slower with it.
# Two runs against the same archive give identical bytes. The cache is keyed by this file.
#
# Reads: WAYBILL_CACHE; WAYBILL_MIRROR (a Debian mirror; default: deb.debian.org).
set -euo pipefail
unset TZ
export LC_ALL=C.UTF-8 SOURCE_DATE_EPOCH=1760000000
here=$(cd "$(dirname "$0")" && pwd)
cache=${WAYBILL_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/waybill}/image
final=$cache/$(sha256sum <"$here/base.sh" | cut -c1-16)
say() { echo "image: $*" >&2; }
die() {
	say "$*"
	exit 1
}

mkdir -p "$cache"
exec 9>"$cache/.lock" # one maker at a time; whoever waited finds the result
flock 9
if [ ! -f "$final/layout/index.json" ]; then
	command -v mmdebstrap >/dev/null || die "mmdebstrap is missing; install it: apt-get install -y mmdebstrap"
	[ "$(id -u)" = 0 ] || die "making the base of the image needs root (mmdebstrap unpacks a Debian system)"
	rm -rf "$cache"/.making-*
	work=$(mktemp -d "$cache/.making-XXXXXX")
	trap 'rm -rf "$work"' EXIT
	started=$SECONDS
	say "making the base of Waybill's image from Debian packages (about a minute)"
	mmdebstrap --variant=minbase --mode=root --format=tar \
		--aptopt='Acquire::Check-Valid-Until "false"' --aptopt='Acquire::Retries "3"' \
		--dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/info/*' \
		--dpkgopt='path-exclude=/usr/share/locale/*' --dpkgopt='path-exclude=/usr/share/doc/*' \
		--dpkgopt='path-include=/usr/share/doc/*/copyright' \
		--dpkgopt='path-exclude=/usr/lib/postgresql/*/lib/bitcode/*' --dpkgopt='path-exclude=/usr/lib/postgresql/*/lib/llvmjit*' \
		--dpkgopt='path-exclude=/usr/lib/*/libLLVM*' --dpkgopt='path-exclude=/usr/lib/llvm-*' \
		--setup-hook='install -d "$1"/etc/postgresql-common && echo "create_main_cluster = false" > "$1"/etc/postgresql-common/createcluster.conf' \
		--include=ca-certificates,git,openssh-client,postgresql,postgresql-client,python3-minimal,tzdata,util-linux \
		--customize-hook='rm -rf "$1"/etc/apt/sources.list "$1"/etc/apt/sources.list.d/*' \
		--customize-hook='rm -rf "$1"/var/log/*.log "$1"/var/log/apt/* "$1"/var/cache/ldconfig/aux-cache "$1"/var/lib/apt/extended_states' \
		--customize-hook='rm -f "$1"/var/cache/debconf/*.dat*' \
		--customize-hook='rm -f "$1"/etc/ssl/private/ssl-cert-snakeoil.key "$1"/etc/ssl/certs/ssl-cert-snakeoil.pem && find "$1"/etc/ssl/certs -xtype l -delete' \
		--customize-hook=': > "$1"/etc/machine-id; echo waybill > "$1"/etc/hostname; rm -f "$1"/etc/resolv.conf' \
		--customize-hook='echo "waybill:x:65532:65532:Waybill:/var/lib/waybill:/usr/sbin/nologin" >> "$1"/etc/passwd; echo "waybill:x:65532:" >> "$1"/etc/group' \
		--customize-hook='install -d -o 65532 -g 65532 -m 711 "$1"/var/lib/waybill' \
		trixie "$work/rootfs.tar" "deb ${WAYBILL_MIRROR:-http://deb.debian.org/debian} trixie main" >"$work/log" 2>&1 || {
		tail -n 20 "$work/log" >&2
		die "mmdebstrap failed; its last lines are above"
	}
	(cd "$here/../.." && go run ./hack/base "$work/rootfs.tar" "$work/layout") >&2
	rm -f "$work/rootfs.tar"
	chmod 755 "$work"
	mv -T "$work" "$final"
	trap - EXIT
	say "made in $((SECONDS - started)) s"
fi
echo "$final/layout"
