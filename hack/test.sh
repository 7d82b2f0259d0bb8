#!/usr/bin/env bash
# Runs the tests against real parts; hack/with.sh has made them ready.
#
#   hack/test.sh core    unit and integration tests, and the core of the console's, of the kill matrix, of the rehearsals and of the faults
#   hack/test.sh all     the same with all of the console, the story in a browser, the whole kill matrix, all rehearsals and faults, six tenants in rings, an emergency, logins at an OpenID provider, pull requests at a forge, and cosign
#   hack/test.sh kill    the whole kill matrix alone
#   hack/test.sh cosign  cosign on what is attached to an image
#   hack/test.sh openid  logins at an OpenID provider
#   hack/test.sh forge   pull requests at a Gitea
#   hack/test.sh promtool    promtool on metrics, alert rules and dashboards
#   hack/test.sh rehearsal   every change of the corpus, rehearsed
#   hack/test.sh faults      every fault of the corpus, and ten good releases; WAYBILL_FAULTS: their names
#   hack/test.sh console     the console in a browser, and the demo's story in it on a real Odoo; WAYBILL_CONSOLE: tests whose names match
#   hack/test.sh console-pages   the part that needs neither Odoo nor an engine
#   hack/test.sh tenants     six tenants in three rings
#   hack/test.sh emergency   the glass broken, and the review of it
#   hack/test.sh kube    on a Kubernetes, the one that KUBECONFIG and WAYBILL_KUBE_* name or one of its own: the demo's story; WAYBILL_KUBE: another part, see kube-all
#   hack/test.sh kube-all    the whole story of make demo-full there, that of make demo again with filestores in object storage, the conformance suite of runtimes, what runs written down in Git, rehearsals, Waybill's own chart, chaos, and a pool that grows: full, bucket, conformance, git, rehearsals, chart, chaos, busy
#   hack/test.sh bench   ratios against what one would do without Waybill
#   hack/test.sh bench-build   those of building alone
#   hack/test.sh bench-rehearsal   what a rehearsal costs and foretells; WAYBILL_BENCH: trace, blocked or memory alone
#   hack/test.sh bench-signals   what it costs to time a call
set -euo pipefail
cd "$(dirname "$0")/.."
export CGO_ENABLED=0

section() {
	local title=$1 start=$SECONDS code=0
	shift
	echo "== $title"
	"$@" || code=$?
	if [ "$code" -ne 0 ]; then
		echo "== $title: FAILED after $((SECONDS - start)) s" >&2
		exit "$code"
	fi
	echo "== $title: ok, $((SECONDS - start)) s"
}

# -count=1: real parts change without Go noticing.
odoo() { go test -tags odoo,docker -count=1 -p "${WAYBILL_TEST_PACKAGES:-1}" -timeout 120m "$@"; }

# The base image in the engine, for tests that start containers of it, and the manifests of its modules.
prepare() {
	export WAYBILL_TEST_BASE=waybill-test-base:19.0
	go run ./hack/loadbase "$WAYBILL_BASE" "$WAYBILL_TEST_BASE"
	manifests
}

manifests() {
	local layout=${WAYBILL_BASE#oci:} manifests
	manifests=$layout/../manifests
	if [ ! -d "$manifests" ]; then
		mkdir -p "$manifests.new"
		# shellcheck disable=SC2012 # the names are digests; the layer is by far the largest blob
		tar -xzf "$(ls -S "$layout"/blobs/sha256/* | head -1)" -C "$manifests.new" --wildcards '*/odoo/addons/*/__manifest__.py'
		mv "$manifests.new" "$manifests"
	fi
	WAYBILL_TEST_ADDONS=$(cd "$manifests" && pwd)/usr/lib/python3/dist-packages/odoo/addons
	export WAYBILL_TEST_ADDONS
}

# Without -short: the long tests too, which make test-unit leaves out.
unit() { go test ./...; }
# The tests with these tags; those of the same packages without a tag ran with the unit tests.
tagged() { grep -lE '^//go:build .*(odoo|docker)' -r --include='*_test.go' examples internal; }
integration() {
	local files packages names
	mapfile -t files < <(tagged)
	mapfile -t packages < <(printf './%s\n' "${files[@]}" | xargs -n1 dirname | sort -u)
	names=$(sed -nE 's/^func (Test[A-Za-z0-9_]+)\(t .*/\1/p' "${files[@]}" | grep -vx TestMain | sort -u | paste -sd'|')
	# Two at a time: a test on Odoo mostly waits for one process that starts.
	WAYBILL_TEST_PACKAGES=2 odoo -run "^($names)\$" "${packages[@]}"
}
# Somebody else's provider, as a process of its own.
openid() {
	local tools
	tools=$(hack/tools.sh openid)
	WAYBILL_TEST_OPENID=$tools/server go test -tags openid -count=1 -run 'Provider|CodeOfAnother' ./internal/openid ./internal/api
}

# Somebody else's forge, as a process of its own. Builds Gitea the first time, which takes minutes.
forge() {
	local tools
	tools=$(hack/tools.sh gitea)
	WAYBILL_TEST_GITEA=$tools go test -tags gitea -count=1 -run Forge ./internal/gitops
}

# Builds cosign the first time, which takes minutes.
cosign() {
	local tools
	tools=$(hack/tools.sh cosign)
	WAYBILL_TEST_COSIGN=$tools/cosign go test -tags cosign -count=1 -run Cosign ./internal/attest
}
# Takes promtool out of a Debian package the first time.
promtool() {
	local tools
	tools=$(hack/tools.sh promtool)
	WAYBILL_TEST_PROMTOOL=$tools/promtool go test -tags promtool -count=1 -run '^TestPromtool$' ./internal/telemetry
}
# In Chromium, on a server with a history that was put there.
console() {
	hack/console.sh browser
	go test -tags browser -count=1 -v -timeout 20m -run '^TestConsole$' ./test/console
}

# Each page once, what is done with a promotion, and who may do what.
console_core() { WAYBILL_CONSOLE=${WAYBILL_CONSOLE:-', light|acts/|rights'} console; }

console_story() {
	hack/console.sh browser
	go test -tags browser,odoo,docker -count=1 -v -timeout 60m -run '^TestStory$' ./test/console
}

kill_matrix() { WAYBILL_KILL=$1 odoo -v -run '^TestKill' ./test/kill; }

rehearsals() { WAYBILL_REHEARSAL=$1 odoo -v -run '^TestRehearsal' ./test/rehearsal; }

tenants() { odoo -v -run '^Test(Tenants|Life)$' ./test/tenants; }

emergency() { odoo -v -run '^TestEmergency$' ./test/emergency; }

# On the user's own cluster where its registry was named, else on one that is started, and stopped unless it ran before.
cluster() {
	local settings
	[ -z "${WAYBILL_KUBE_REGISTRY:-}" ] || return 0
	if ! hack/cluster.sh status >/dev/null 2>&1; then
		trap 'hack/cluster.sh down' EXIT
		hack/cluster.sh up || return
	fi
	settings=$(hack/cluster.sh env) || return
	eval "$settings"
}

kube_conformance() { go test -tags kube -count=1 -timeout 40m ./internal/runtime/kube ./internal/secret; }

# Its parts are taken away while a release is promoted, which takes a cluster of hack/cluster.sh.
kube_chaos() { go test -tags kube,odoo -count=1 -v -timeout 40m -run '^TestChaos$' ./test/kube; }

# A pool gets more pods when it is busy, which takes somebody who measures that: of hack/cluster.sh, or the metrics server of a cluster that was named.
kube_busy() {
	if hack/cluster.sh status >/dev/null 2>&1; then hack/cluster.sh metrics || return; fi
	go test -tags kube,odoo -count=1 -v -timeout 40m -run '^TestBusyPoolGrows$' ./test/kube
}

# What runs is written down in the estate's repository.
kube_git() { go test -tags kube,odoo -count=1 -v -timeout 40m -run '^TestWhatRunsIsInGit$' ./test/kube; }

kube_rehearsals() { go test -tags kube,odoo -count=1 -v -timeout 40m -run '^TestRehearsals$' ./test/kube; }

# The chart is installed, with the image of this binary, and its servers promote. Builds Helm the first time.
kube_chart() {
	local tools base
	tools=$(hack/tools.sh helm) || return
	base=$(hack/image/base.sh) || return
	WAYBILL_TEST_HELM=$tools/helm WAYBILL_TEST_IMAGE_BASE=$base go test -tags kube,odoo -count=1 -v -timeout 50m -run '^TestChart(Promotes)?$' ./test/kube
}

# The same where pods share no volume, on a cluster of hack/cluster.sh.
kube_bucket() {
	local settings
	if [ -z "${WAYBILL_KUBE_FILESTORES:-}" ]; then
		hack/cluster.sh s3 || return
		settings=$(hack/cluster.sh env) || return
		eval "$settings"
	fi
	kube_story && kube_rehearsals
}

# With rehearsals, and the releases that real traffic and a restore are needed for.
kube_full() { WAYBILL_DEMO=${WAYBILL_DEMO:-/var/lib/waybill-demo-kube} hack/demo.sh -kube -full -deadline 40m; }

kube_story() { WAYBILL_DEMO=${WAYBILL_DEMO:-/var/lib/waybill-demo-kube} hack/demo.sh -kube -deadline 30m; }

faults() { WAYBILL_FAULTS=$1 odoo -v -run '^TestFaults$' ./test/faults; }

case ${1:-} in
core)
	section "unit tests" unit
	section "unit tests of the console" hack/console.sh test
	section "promtool on metrics, rules and dashboards" promtool
	section "the console in a browser, core" console_core
	section "the base image for tests" prepare
	section "integration tests on real Odoo" integration
	section "kill matrix, core" kill_matrix core
	section "rehearsals, core" rehearsals core
	section "faults, core" faults core
	;;
all)
	section "unit tests" unit
	section "unit tests of the console" hack/console.sh test
	section "promtool on metrics, rules and dashboards" promtool
	section "the console in a browser" console
	section "the base image for tests" prepare
	section "integration tests on real Odoo" integration
	section "the demo's story in a browser" console_story
	section "cosign verifies attestations" cosign
	section "logins at an OpenID provider" openid
	section "pull requests at a forge" forge
	section "kill matrix" kill_matrix all
	section "rehearsals" rehearsals all
	section "faults" faults all
	section "tenants in rings" tenants
	section "emergency" emergency
	;;
console-pages)
	section "the console in a browser" console
	;;
console)
	section "the console in a browser" console
	section "the story in a browser" console_story
	;;
cosign)
	section "cosign verifies attestations" cosign
	;;
openid)
	section "logins at an OpenID provider" openid
	;;
forge)
	section "pull requests at a forge" forge
	;;
promtool)
	section "promtool on metrics, rules and dashboards" promtool
	;;
kill)
	prepare
	section "kill matrix" kill_matrix all
	;;
rehearsal)
	section "rehearsals" rehearsals "${WAYBILL_REHEARSAL:-all}"
	;;
tenants)
	section "tenants in rings" tenants
	;;
emergency)
	section "emergency" emergency
	;;
faults)
	section "faults" faults "${WAYBILL_FAULTS:-all}"
	;;
kube | kube-all)
	parts=${WAYBILL_KUBE:-story}
	[ "$1" = kube ] || parts=all
	section "a Kubernetes" cluster
	case $parts in story) section "the demo's story on Kubernetes" kube_story ;; esac
	case $parts in all | full) section "the whole story on Kubernetes, with rehearsals" kube_full ;; esac
	case $parts in all | conformance) section "conformance on Kubernetes" kube_conformance ;; esac
	case $parts in all | git) section "what runs on Kubernetes, in Git" kube_git ;; esac
	case $parts in all | rehearsals) section "rehearsals on Kubernetes" kube_rehearsals ;; esac
	case $parts in all | chart) section "Waybill's chart" kube_chart ;; esac
	case $parts in all | chaos) section "parts of Kubernetes taken away" kube_chaos ;; esac
	case $parts in all | busy) section "a busy pool on Kubernetes" kube_busy ;; esac
	case $parts in all | bucket) section "the demo's story, and rehearsals, with filestores in object storage" kube_bucket ;; esac
	;;
bench)
	prepare
	section "benchmarks" odoo -v -run '^$' -bench . -benchtime 1x ./test/bench ./internal/router
	;;
bench-build)
	manifests
	section "benchmarks of building" odoo -v -run '^$' -bench '^Benchmark(Build|Manifests)$' -benchtime 1x ./test/bench
	;;
bench-rehearsal)
	section "benchmarks of rehearsals" odoo -v -run '^$' -bench "^BenchmarkRehearsal\$/^(${WAYBILL_BENCH:-trace|blocked|memory})\$" -benchtime 1x ./test/rehearsal
	;;
bench-signals)
	prepare
	section "benchmark of signals" odoo -v -run '^TestSignals$/^what_it_costs$' ./internal/bridge
	;;
*)
	echo "usage: hack/test.sh core|all|kill|rehearsal|faults|console|console-pages|tenants|emergency|cosign|openid|forge|promtool|kube|kube-all|bench|bench-build|bench-rehearsal|bench-signals" >&2
	exit 2
	;;
esac
