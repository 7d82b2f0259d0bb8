#!/usr/bin/env bash
# Sets a bare Debian machine up for Waybill's tests and demo: packages and a Docker Engine. Every
# command is idempotent, says what it does on stderr, and prints only what a caller evaluates:
#
#   eval "$(hack/setup.sh docker)"   # DOCKER_HOST, and WAYBILL_ENGINE_STARTED=yes|no
#   hack/setup.sh stop               # what was started, nothing else
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${WAYBILL_CACHE:-${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/waybill}

say() { printf 'setup: %s\n' "$*" >&2; }
die() {
	say "$*"
	exit 1
}

# shellcheck source=hack/docker.sh
. "$here/docker.sh"

# Each group of packages: names, and what Waybill wants them for.
usual=(postgresql redis docker base filesystems git node console checks)
groups=("${usual[@]}" cluster) # the last for make cluster alone
packages_postgresql() { echo postgresql; }
why_postgresql() { echo "Waybill's own state, and the tenants' databases"; }
packages_redis() { echo redis-server python3-redis; }
why_redis() { echo "tests of sessions on a Redis server, and of what is read from one"; }
packages_docker() { echo docker.io iptables iproute2; }
why_docker() { echo "the Docker Engine that runs Odoo and the router"; }
packages_base() { echo mmdebstrap ca-certificates; }
why_base() { echo "the base image with Odoo, made from Debian's packages"; }
packages_filesystems() { echo e2fsprogs mount util-linux; }
why_filesystems() { echo "tests with a full disk, on a small loop-mounted file system"; }
packages_git() { echo git ca-certificates; }
why_git() { echo "estates and releases are Git commits"; }
# A Node.js from elsewhere will do, if it is new enough; Debian's nodejs would replace it.
packages_node() { if ! node_is_here; then echo nodejs npm; fi; }
node_is_here() { command -v npm >/dev/null && node -e 'process.exit(+process.versions.node.split(".")[0] >= 18 ? 0 : 1)' 2>/dev/null; }
why_node() { echo "the web console, which is built from web/"; }
packages_console() { echo chromium; }
why_console() { echo "tests in a real browser"; }
packages_checks() { echo shellcheck skopeo umoci python3-minimal python3-packaging pgbouncer; }
why_checks() { echo "what make verify and the tests of images, the registry, version orders and poolers run"; }

packages_cluster() { echo etcd-server containerd runc containernetworking-plugins iptables nftables iproute2 mount util-linux; }
why_cluster() { echo "the Kubernetes of make cluster, beside what it builds itself"; }

installed() { [ "$(dpkg-query -W -f='${db:Status-Abbrev}' "$1" 2>/dev/null)" = "ii " ]; }

# missing GROUP... prints the packages that are not installed.
missing() {
	local group package
	for group in "$@"; do
		for package in $("packages_$group"); do
			installed "$package" || printf '%s\n' "$package"
		done
	done | sort -u
}

check_groups() {
	local group
	for group in "$@"; do
		case " ${groups[*]} " in
		*" $group "*) ;;
		*) die "unknown group of packages '$group'; there are: ${groups[*]}" ;;
		esac
	done
}

apt_install() { DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "$@" >&2; }

packages() {
	local group wanted lacking
	[ $# -gt 0 ] || set -- "${usual[@]}"
	check_groups "$@"
	command -v apt-get >/dev/null || die "this is no Debian (no apt-get); install what these Debian packages hold: $(for group in "$@"; do "packages_$group"; done | tr '\n' ' ')"
	lacking=$(missing "$@" | tr '\n' ' ')
	if [ -z "$lacking" ]; then
		say "packages: all there ($*)"
		return 0
	fi
	for group in "$@"; do
		wanted=$(missing "$group" | tr '\n' ' ')
		[ -z "$wanted" ] || say "missing: $wanted(for $("why_$group"))"
	done
	if [ "$(id -u)" != 0 ]; then
		die "installing takes root; run: sudo apt-get install -y --no-install-recommends $lacking"
	fi
	say "installing: $lacking"
	apt-get update -q >&2 || say "apt-get update failed; trying with the lists that are there"
	case " $lacking " in *" postgresql "*) without_cluster ;; esac
	# shellcheck disable=SC2086 # a list
	apt_install $lacking || die "apt-get could not install: $lacking; see above; when the archive cannot be reached, check /etc/apt/sources.list and the network"
	restore_cluster_choice
	say "packages: installed"
}

cluster_conf=/etc/postgresql-common/createcluster.conf

# without_cluster keeps Debian from creating and starting a server of its own: Waybill starts private ones.
without_cluster() {
	apt_install postgresql-common || die "apt-get could not install postgresql-common; see above"
	[ -f "$cluster_conf" ] || return 0
	cp -p "$cluster_conf" "$cluster_conf.waybill"
	trap restore_cluster_choice EXIT
	sed -i '/^[[:space:]]*create_main_cluster/d' "$cluster_conf"
	echo 'create_main_cluster = false' >>"$cluster_conf"
}

restore_cluster_choice() {
	[ ! -f "$cluster_conf.waybill" ] || mv "$cluster_conf.waybill" "$cluster_conf"
}

# locked runs a command while no other set-up on this cache runs.
locked() {
	mkdir -p "$cache" || die "cannot make the cache folder $cache; choose another: WAYBILL_CACHE=/some/folder"
	exec 9>"$cache/setup.lock" || die "cannot write $cache/setup.lock; choose another cache folder: WAYBILL_CACHE=/some/folder"
	flock -n 9 || { say "another hack/setup.sh runs; waiting for it" && flock -w 900 9; } ||
		die "another hack/setup.sh has been running for a quarter of an hour; wait for it or end it"
	"$@"
}

docker_up() {
	local found started=no
	if ! found=$(find_engine); then
		command -v dockerd >/dev/null || packages docker
		# Where an init system runs, installing has started the machine's own engine.
		if ! found=$(find_engine); then
			start_engine
			found=$socket
			started=yes
		fi
	fi
	printf 'export DOCKER_HOST=unix://%s\nexport WAYBILL_ENGINE_STARTED=%s\n' "$found" "$started"
}

env_lines() {
	local found
	found=$(find_engine) || die "no Docker Engine answers; start one: hack/setup.sh docker"
	printf 'export DOCKER_HOST=unix://%s\n' "$found"
}

check() {
	local group lacking found bad=0
	for group in "${usual[@]}"; do
		lacking=$(missing "$group" | tr '\n' ' ')
		if [ -n "$lacking" ]; then
			say "missing: $lacking(for $("why_$group")); install: hack/setup.sh packages $group"
			bad=1
		fi
	done
	if ! PATH="$PATH:/usr/local/go/bin" command -v go >/dev/null; then
		say "missing: Go, from https://go.dev/dl, in PATH or /usr/local/go"
		bad=1
	fi
	if found=$(find_engine); then
		say "Docker Engine: answers at unix://$found"
	else
		say "Docker Engine: none answers; start one: hack/setup.sh docker"
		bad=1
	fi
	[ $bad = 0 ] && say "all there"
	return $bad
}

usage() {
	cat >&2 <<END
usage: hack/setup.sh COMMAND
  packages [GROUP...]  install what is missing (${groups[*]})
  docker               find or start a Docker Engine; prints what to eval
  env                  print what to eval for the engine that answers
  restart              restart the engine that 'docker' started (for tests)
  check                say what is missing; change nothing
  stop                 stop the engine that 'docker' started
Cache: $cache (WAYBILL_CACHE)
END
}

case "${1:-}" in
packages) shift && locked packages "$@" ;;
docker) locked docker_up ;;
env) env_lines ;;
check) check ;;
restart) locked restart_engine ;;
stop) locked stop_engine ;;
help | -h | --help) usage ;;
*)
	usage
	exit 2
	;;
esac
