#!/usr/bin/env bash
# Builds a pinned tool into the cache, outside the tree, and prints its folder.
# Does nothing where it is there already for this go.sum and this Go.
#
#   hack/tools.sh            staticcheck, for verify
#   hack/tools.sh cosign     cosign, for a test; several minutes the first time
#   hack/tools.sh openid     an OpenID provider, for a test
#   hack/tools.sh promtool   Prometheus' promtool, for a test: taken out of Debian's package, which is not installed
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
cache=${WAYBILL_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/waybill}
tool=${1:-staticcheck}
case $tool in
promtool)
	bin=$cache/tools/promtool
	if [ ! -x "$bin/promtool" ]; then
		command -v apt-get >/dev/null || { echo "tools: promtool comes out of Debian's package prometheus, and there is no apt-get here" >&2; exit 1; }
		echo "tools: take promtool out of Debian's package prometheus (19 MB)" >&2
		work=$(mktemp -d)
		trap 'rm -rf "$work"' EXIT
		(cd "$work" && apt-get -qq download prometheus 2>/dev/null || { apt-get -qq update && apt-get -qq download prometheus; }) >&2
		dpkg-deb --fsys-tarfile "$work"/prometheus_*.deb | tar -xO ./usr/bin/promtool >"$work/promtool"
		chmod 0755 "$work/promtool"
		mkdir -p "$bin"
		mv "$work/promtool" "$bin/promtool"
	fi
	echo "$bin"
	exit 0
	;;
staticcheck) module=$here/tools package=honnef.co/go/tools/cmd/staticcheck ;;
cosign) module=$here/tools/cosign package=github.com/sigstore/cosign/v3/cmd/cosign ;;
openid) module=$here/tools/openid package=github.com/zitadel/oidc/v3/example/server ;;
*)
	echo "usage: hack/tools.sh [staticcheck|cosign|openid|promtool]" >&2
	exit 2
	;;
esac
key=$({ cat "$module/go.mod" "$module/go.sum"; go env GOVERSION GOARCH; } | sha256sum | cut -c1-16)
bin=$cache/tools/$key
if [ ! -x "$bin/$tool" ]; then
	echo "tools: build $tool into $bin" >&2
	mkdir -p "$bin"
	(cd "$module" && go build -p 2 -o "$bin/.$tool.$$" "$package")
	mv "$bin/.$tool.$$" "$bin/$tool"
fi
echo "$bin"
