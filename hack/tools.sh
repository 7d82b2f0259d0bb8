#!/usr/bin/env bash
# Builds a pinned tool into the cache, outside the tree, and prints its folder.
# Does nothing where it is there already for this go.sum and this Go.
#
#   hack/tools.sh            staticcheck, for verify
#   hack/tools.sh cosign     cosign, for a test; several minutes the first time
#   hack/tools.sh helm       Helm, for the tests of the chart; some minutes the first time
#   hack/tools.sh openid     an OpenID provider, for a test
#   hack/tools.sh kube       the programs of Kubernetes, for make cluster; about a quarter of an hour the first time
#   hack/tools.sh metrics    the metrics server, for a test; some minutes the first time
#   hack/tools.sh s3         an S3 server on a folder, for tests; some minutes the first time
#   hack/tools.sh traefik    Traefik, for make cluster; several minutes the first time
#   hack/tools.sh gitea      Gitea, a forge, for a test: with what it serves, in one folder; some ten minutes the first time
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
kube) module=$here/tools/kube ;;
staticcheck) module=$here/tools package=honnef.co/go/tools/cmd/staticcheck ;;
cosign) module=$here/tools/cosign package=github.com/sigstore/cosign/v3/cmd/cosign ;;
helm) module=$here/tools/helm package=helm.sh/helm/v3/cmd/helm ;;
openid) module=$here/tools/openid package=github.com/zitadel/oidc/v3/example/server ;;
gitea) module=$here/tools/gitea package=code.gitea.io/gitea ;;
metrics) module=$here/tools/metrics package=sigs.k8s.io/metrics-server/cmd/metrics-server ;;
s3) module=$here/tools/s3 package=github.com/versity/versitygw/cmd/versitygw ;;
traefik) module=$here/tools/traefik package=github.com/traefik/traefik/v3/cmd/traefik ;;
*)
	echo "usage: hack/tools.sh [staticcheck|cosign|helm|openid|gitea|promtool|kube|metrics|s3|traefik]" >&2
	exit 2
	;;
esac
key=$({ cat "$module/go.mod" "$module/go.sum"; go env GOVERSION GOARCH; } | sha256sum | cut -c1-16)
bin=$cache/tools/$key

# build LDFLAGS PACKAGE... builds those that are not there, in one go: what they share is compiled once, and while one is linked, the next is compiled.
build() {
	local flags=$1 missing=() package new
	shift
	for package in "$@"; do
		[ -x "$bin/${package##*/}" ] || missing+=("$package")
	done
	[ ${#missing[@]} -gt 0 ] || return 0
	echo "tools: build ${missing[*]##*/} into $bin" >&2
	new=$bin/.new.$$
	mkdir -p "$new"
	(cd "$module" && go build -p 2 -ldflags "$flags" -o "$new/" "${missing[@]}")
	mv "$new"/* "$bin/"
	rmdir "$new"
}

case $tool in
kube)
	# What the nodes and the API server say of their version, and compare, is set when they are linked.
	version=$(sed -n 's/^require k8s.io\/kubernetes \(v[0-9.]*\).*/\1/p' "$module/go.mod")
	minor=${version#v1.}
	said=k8s.io/component-base/version
	flags="-s -w -X $said.gitVersion=$version -X $said.gitMajor=1 -X $said.gitMinor=${minor%%.*}"
	build "$flags" k8s.io/kubernetes/cmd/{kube-apiserver,kube-controller-manager,kube-scheduler,kubelet,kube-proxy,kubectl}
	;;
traefik)
	if [ ! -e "$bin/crds.yml" ]; then # the kinds that it brings to a cluster
		mkdir -p "$bin"
		from=$(cd "$module" && go mod download github.com/traefik/traefik/v3 && go list -m -f '{{.Dir}}' github.com/traefik/traefik/v3)
		install -m 644 "$from/docs/content/reference/dynamic-configuration/kubernetes-crd-definition-v1.yml" "$bin/crds.yml"
	fi
	build "-s -w" "$package"
	;;
gitea)
	if [ ! -x "$bin/gitea" ]; then # what it reads beside it
		mkdir -p "$bin"
		from=$(cd "$module" && go mod download "$package" && go list -m -f '{{.Dir}}' "$package")
		cp -R --no-preserve=mode "$from/options" "$from/templates" "$from/public" "$bin/"
	fi
	build "" "$package"
	;;
metrics | s3) build "-s -w" "$package" ;;
*) build "" "$package" ;;
esac
echo "$bin"
