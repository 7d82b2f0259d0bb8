#!/usr/bin/env bash
# Runs a command with the real parts that it names, and stops afterwards what was started for it.
#
#   hack/with.sh [build] [cluster] [packages] [docker] [base] -- COMMAND...
#
#   build     bin/waybill; beside the parts that come after it, since the first time all of them take minutes
#   cluster   the programs of hack/cluster.sh, beside the others too; not where WAYBILL_KUBE_REGISTRY names a cluster of the user's
#   packages  Debian packages; installs those that are missing (as root; otherwise names them)
#   docker    a Docker Engine; starts one when none answers
#   base      the base image in the cache; makes it when it is not there
#
# It says what it installs and starts. Doing it twice does nothing the second time.
set -euo pipefail
cd "$(dirname "$0")/.."

parts=()
while [ $# -gt 0 ] && [ "$1" != -- ]; do
	parts+=("$1")
	shift
done
[ "${1:-}" = -- ] && [ $# -gt 1 ] || { echo "usage: hack/with.sh [build] [cluster] [packages] [docker] [base] -- COMMAND..." >&2; exit 2; }
shift

engine=no  # whether it was started here
builds=() # the process groups of what is built beside the rest, while they run
finish() {
	local code=$?
	trap - EXIT INT TERM
	for building in "${builds[@]}"; do
		kill -- "-$building" 2>/dev/null || true
	done
	if [ "$engine" = yes ]; then # not one that somebody else has started and works with
		hack/setup.sh stop || echo "with: hack/setup.sh stop failed" >&2
	fi
	exit "$code"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# beside COMMAND... runs it while the other parts are made, in a process group of its own, so that all of it can be ended where another fails.
beside() {
	MAKEFLAGS='' setsid "$@" </dev/null &
	builds+=($!)
}

for part in "${parts[@]}"; do
	start=$SECONDS
	case $part in
	build)
		beside make --no-print-directory build
		continue
		;;
	cluster)
		[ -n "${WAYBILL_KUBE_REGISTRY:-}" ] || beside hack/cluster.sh tools
		continue
		;;
	packages) hack/setup.sh packages ;;
	docker)
		# Into this shell, so that the command finds the engine. Not "eval $(…)": that would hide a failure.
		settings=$(hack/setup.sh docker)
		eval "$settings"
		engine=${WAYBILL_ENGINE_STARTED:-no}
		;;
	base)
		hack/base/build.sh
		WAYBILL_BASE=oci:$(hack/base/build.sh --path)
		export WAYBILL_BASE
		;;
	*) echo "with: unknown part $part" >&2; exit 2 ;;
	esac
	echo "with: $part ready after $((SECONDS - start)) s"
done
for building in "${builds[@]}"; do
	wait "$building" || { echo "with: a build failed; see above" >&2 && exit 1; }
done
[ ${#builds[@]} -eq 0 ] || echo "with: builds ready after $SECONDS s"
builds=()
"$@"
