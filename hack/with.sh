#!/usr/bin/env bash
# Runs a command with the real parts that it names, and stops afterwards what was started for it.
#
#   hack/with.sh [build] [packages] [docker] [base] -- COMMAND...
#
#   build     bin/waybill; beside the parts that come after it, since the first time all of them take minutes
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
[ "${1:-}" = -- ] && [ $# -gt 1 ] || { echo "usage: hack/with.sh [build] [packages] [docker] [base] -- COMMAND..." >&2; exit 2; }
shift

engine=no  # whether it was started here
building= # the process group of the build, while it runs
finish() {
	local code=$?
	trap - EXIT INT TERM
	if [ -n "$building" ]; then
		kill -- "-$building" 2>/dev/null || true
	fi
	if [ "$engine" = yes ]; then # not one that somebody else has started and works with
		hack/setup.sh stop || echo "with: hack/setup.sh stop failed" >&2
	fi
	exit "$code"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

for part in "${parts[@]}"; do
	start=$SECONDS
	case $part in
	build)
		# A process group of its own, so that all of it can be ended where another part fails.
		MAKEFLAGS='' setsid make --no-print-directory build </dev/null &
		building=$!
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
if [ -n "$building" ]; then
	wait "$building" || { building='' && echo "with: make build failed; see above" >&2 && exit 1; }
	building=
	echo "with: build ready after $SECONDS s"
fi
"$@"
