#!/usr/bin/env bash
# Checks everything that needs no running part: format, lint, generated files, notes. Goes through
# all checks and lists those that failed; ends non-zero where one did.
#
#   hack/verify.sh [CHECK...]   all, or only those named
set -euo pipefail
cd "$(dirname "$0")/.."
export CGO_ENABLED=0 GOFLAGS="-mod=readonly -trimpath"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

tracked() { git ls-files -z --cached --others --exclude-standard -- "$@"; }
say() { echo "  $*" >&2; }

check_format() {
	local bad
	bad=$(tracked '*.go' | xargs -0r gofmt -l)
	[ -z "$bad" ] || { say "not formatted; run: gofmt -w" "$bad"; return 1; }
}

check_vet() { go vet -tags odoo,browser,helm ./...; }

check_lint() {
	local bin
	bin=$(hack/tools.sh)
	"$bin/staticcheck" -tags odoo,browser,helm ./...
}

# What the Helm chart makes of its values.
check_chart() {
	local bin
	bin=$(hack/tools.sh helm)
	WAYBILL_TEST_HELM=$bin/helm go test -tags helm -run Chart ./internal/cli ./internal/runtime/kube
	WAYBILL_TEST_HELM=$bin/helm go test -tags helm ./test/chart
}

# Only the tidy part that can be checked without writing: sums and requirements are complete.
check_modules() {
	go mod verify >"$work/modules" 2>&1 || { cat "$work/modules" >&2; return 1; }
	go mod tidy -diff >"$work/tidy" 2>&1 || { head -40 "$work/tidy" >&2; say "go.mod is not tidy; run: go mod tidy"; return 1; }
}

check_generated() {
	go run ./internal/estate/gen -out "$work/schemas"
	go run ./internal/api/gen -out "$work/schemas/openapi.json"
	# waybill.json is checked by the tests of internal/waybill.
	diff -ru -x waybill.json docs/schemas "$work/schemas" >&2 || { say "docs/schemas is out of date; run: make generate"; return 1; }
	go run ./internal/identity/gen -out "$work/roles.md"
	go run ./internal/telemetry/gen -out "$work/metrics.md"
	diff -u docs/metrics.md "$work/metrics.md" >&2 || { say "docs/metrics.md is out of date; run: make generate"; return 1; }
	diff -u docs/roles.md "$work/roles.md" >&2 || { say "docs/roles.md is out of date; run: make generate"; return 1; }
}

# Types, lint and format of the console.
check_console() { hack/console.sh check; }

check_shell() {
	local scripts=()
	while IFS= read -r -d '' f; do
		if [ -f "$f" ] && head -c 64 "$f" | grep -qE '^#!.*\b(ba)?sh\b'; then scripts+=("$f"); fi
	done < <(tracked)
	local f
	for f in "${scripts[@]}"; do
		bash -n "$f" || return 1
	done
	if ! command -v shellcheck >/dev/null; then
		if [ "${CI:-}" = true ]; then
			say "shellcheck is missing; install it: apt-get install -y shellcheck"
			return 1
		fi
		say "note: shellcheck is not installed, only syntax was checked: apt-get install -y shellcheck"
		return 0
	fi
	shellcheck -x -S warning "${scripts[@]}"
}

# Compiles all Python of the tree elsewhere, so that no __pycache__ comes into it.
check_python() {
	command -v python3 >/dev/null || { say "python3 is missing; install it: apt-get install -y python3"; return 1; }
	local folders=() f
	for f in bridge examples; do if [ -d "$f" ]; then folders+=("$f"); fi; done
	PYTHONPYCACHEPREFIX=$work/pycache python3 -m compileall -q "${folders[@]}"
}

check_notes() {
	local f bad=0
	for f in LICENSE README.md CHANGELOG.md CONTRIBUTING.md docs/README.md; do
		[ -s "$f" ] || { say "$f is missing or empty"; bad=1; }
	done
	grep -q 'Apache License' LICENSE || { say "LICENSE is not the Apache License"; bad=1; }
	grep -q '^## \[Unreleased\]' CHANGELOG.md || { say "CHANGELOG.md has no Unreleased part"; bad=1; }
	return "$bad"
}

# Every relative link of the documentation leads somewhere.
check_links() {
	local file target bad=0
	while IFS= read -r -d '' file; do
		[ -f "$file" ] || continue
		while IFS= read -r target; do
			target=${target%%#*}
			[ -n "$target" ] || continue
			[ -e "$(dirname "$file")/$target" ] || { say "$file links to $target, which is not there"; bad=1; }
		done < <(grep -oE '\]\([^)]+\)' "$file" | sed -E 's/^\]\(//; s/\)$//' | grep -vE '^(https?:|mailto:)' || true)
	done < <(tracked '*.md')
	return "$bad"
}

# No path of somebody's machine, no key.
check_paths() {
	local bad=0
	if tracked ':!hack/verify.sh' | xargs -0r grep -nIE '(^|[^A-Za-z0-9_.])(/home/[a-z]|/Users/[A-Za-z]|/root/[A-Za-z.])' >"$work/paths" 2>/dev/null; then
		cat "$work/paths" >&2
		say "paths of a machine in the tree"
		bad=1
	fi
	if tracked ':!hack/verify.sh' | xargs -0r grep -nIE '^(-----BEGIN [A-Z ]*PRIVATE KEY-----|AGE-SECRET-KEY-1[A-Z0-9]{50})' >"$work/keys" 2>/dev/null; then
		cut -c1-120 "$work/keys" >&2
		say "a private key in the tree"
		bad=1
	fi
	return "$bad"
}

# What the checks above ran has changed no file.
check_clean() {
	git diff --exit-code --stat >&2 || { say "the work tree differs from the commit"; return 1; }
}

all=(format vet lint modules generated chart console shell python notes links paths clean)
[ $# -eq 0 ] || all=("$@")
failed=()
for name in "${all[@]}"; do
	start=$SECONDS
	# Not "if check": set -e would be off inside it. A subshell keeps it on.
	set +e
	(set -e; "check_$name")
	code=$?
	set -e
	if [ "$code" -eq 0 ]; then
		printf 'verify: %-10s ok      %3d s\n' "$name" $((SECONDS - start))
	else
		printf 'verify: %-10s FAILED  %3d s\n' "$name" $((SECONDS - start))
		failed+=("$name")
	fi
done
if [ ${#failed[@]} -gt 0 ]; then
	echo "verify: failed: ${failed[*]}" >&2
	exit 1
fi
