#!/usr/bin/env bash
# Builds the pinned lint tools into the cache, outside the tree, and prints their folder.
# Does nothing where they are there already for this go.sum and this Go.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
cache=${WAYBILL_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/waybill}
key=$({ cat "$here/tools/go.mod" "$here/tools/go.sum"; go env GOVERSION GOARCH; } | sha256sum | cut -c1-16)
bin=$cache/tools/$key
if [ ! -x "$bin/staticcheck" ]; then
	echo "tools: build staticcheck into $bin" >&2
	mkdir -p "$bin"
	(cd "$here/tools" && go build -p 2 -o "$bin/.staticcheck.$$" honnef.co/go/tools/cmd/staticcheck)
	mv "$bin/.staticcheck.$$" "$bin/staticcheck"
fi
echo "$bin"
